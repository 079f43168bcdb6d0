"""What runs inside of a sandbox to test code: sent there as files, so standard library only, and Python 3.9 or later.

The tests and the code are two processes. The process of the tests (`tester`) never runs a line of the code: it calls it
over a pipe (`solver` at the other end), and what comes back is plain data or a reference (`remote`).
"""
