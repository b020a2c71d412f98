"""A server that speaks first, as databases and ssh do: it greets each client with the address that the PROXY header tells, and
sends back what comes. usage: greeter PORT"""

import socket
import sys
import threading


def serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rwb", buffering=0) as stream:
        header = stream.readline().decode().split()
        # A probe's header names the load balancer itself, and it stays for no greeting.
        try:
            stream.write(f"welcome {header[2] if len(header) > 2 else '?'}\n".encode())
            while part := connection.recv(4096):
                connection.sendall(part)
        except OSError:
            pass


listener = socket.create_server(("", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
