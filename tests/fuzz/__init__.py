"""Files and words that a stranger may have written, given to everything that reads them: one line says what is wrong, or it
is read; nothing else may happen.

targets      a reader each, and what becomes of what it has read: the verdicts, in every form
mutations    seeds with something wrong in them, where no fuzzer is installed
__main__     python -m tests.fuzz [TARGET...] --inputs N: under atheris (coverage-guided) where it is installed
seeds/       TARGET/NAME: every input that once broke something
"""
