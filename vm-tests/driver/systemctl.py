"""systemctl, as far as a scenario uses it, asked of the host's first process."""

import json
import socket
import sys


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--no-pager"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect("/run/lab/control")
        connection.sendall(json.dumps(words).encode() + b"\n")
        answer = json.loads(connection.makefile().read())
    sys.stdout.write(answer["out"])
    code: int = answer["code"]
    return code


if __name__ == "__main__":
    sys.exit(main())
