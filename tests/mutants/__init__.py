"""The check is checked: an attention that is right, and faults planted into it, each of which the probes have to find.

attention    the attention, every decision a method of its own
blocked      the same with a running softmax over blocks of keys
frame        a framework to run it in: NumPy's, and bfloat16 held in float32
mutant       what a fault is: methods that are replaced, where, and when
seen scores softmax tiles memory backward     the faults, as data, by what they are about
variants     other ways to be right, none of which may be accused
trial        ask the probes about each; `python -m tests.mutants` prints the table
"""
