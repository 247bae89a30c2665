"""Does it compute what one means? Small problems, one semantic each, asked of every implementation.

`probes` holds the questions as data, `probing` asks them inside a worker, `check` asks all workers and gathers the answers.
"""
