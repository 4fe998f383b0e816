"""Run a command that dies with its parent: `python child_guard.py PARENT_PID COMMAND...`, on Linux.

It asks the kernel to be killed when its parent ends, however that ends, and then becomes the command. Kept free of
imports of ours: it runs in an isolated interpreter for some milliseconds and is replaced.
"""

import ctypes
import os
import signal
import sys

# Linux: linux/prctl.h. The request survives execve of a program without set-user-id bits.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind our life to the parent's and become the command."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # If the parent died before the request, no signal will come.
    if os.getppid() != parent:
        sys.exit(1)
    command = sys.argv[2:]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


main()
