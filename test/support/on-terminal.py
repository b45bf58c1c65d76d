"""Runs a program on a terminal of its own (columns, rows), as steps say, and prints what became of it as JSON.

argv: limit in seconds, columns, rows, steps as JSON, then the command line. Steps: {"until": text} waits until the program
has written it since the last step, {"resize": [columns, rows]}, {"send": keys}, {"signal": number}. Ends with the program.
"""
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

deadline = time.monotonic() + float(sys.argv[1])
steps = json.loads(sys.argv[4])
terminal, inner = pty.openpty()


def resize(columns, rows):
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))


def become_its_program():
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)


resize(sys.argv[2], sys.argv[3])
before = termios.tcgetattr(inner)
program = subprocess.Popen(sys.argv[5:], stdin=inner, stdout=inner, stderr=inner, preexec_fn=become_its_program)
written = b""
mark = 0


def read_some():
    """False once nothing more can come: the program has ended, and what it wrote is read."""
    global written
    ready, _, _ = select.select([terminal], [], [], 0.05)
    if ready:
        written += os.read(terminal, 65536)
        return True
    return program.poll() is None


for step in steps:
    if "until" in step:
        while step["until"].encode() not in written[mark:]:
            if time.monotonic() > deadline or not read_some():
                break
        else:
            mark = len(written)
            continue
        break
    mark = len(written)
    if "resize" in step:
        resize(*step["resize"])
    elif "send" in step:
        os.write(terminal, step["send"].encode())
    else:
        program.send_signal(step["signal"])
else:
    step = None

while step is None and time.monotonic() < deadline and read_some():
    pass
if program.poll() is None:
    program.kill()
print(
    json.dumps(
        {
            "output": written.decode("utf-8", "replace"),
            "code": program.wait(),
            "missed": step,
            "modesRestored": termios.tcgetattr(inner) == before,
        }
    )
)
