"""Machine code: calls, constant arguments and access paths; nothing is run."""

#: Whether the process is envlock's own, as the command's is. In any other one the disassembler, a
#: library of machine code itself, is loaded in a child process (`apart`).
own_process = False
