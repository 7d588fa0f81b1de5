"""The segment socket without our client: what a program in any other language does (docs/formats/segment.md)."""
import array
import fcntl
import os
import socket

F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 1033, 2, 4, 8
PUT, GET_RESULT, DROP, STORED, FOUND, DROPPED = 1, 3, 4, 65, 66, 67


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        number = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def bytes(self):
        size = self.varint()
        self.at += size
        return self.data[self.at - size:self.at]


class SegmentSocket:
    def __init__(self, daemon_socket):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(daemon_socket + ".segments")
        self.tag = 0

    def close(self):
        self.socket.close()

    def ask(self, kind, body, descriptors=()):
        """The type of the reply, a reader of its fields, and its descriptors."""
        self.tag += 1
        message = b"\x01" + varint(self.tag) + bytes([kind]) + body
        socket.send_fds(self.socket, [message], list(descriptors))
        data, found, _, _ = socket.recv_fds(self.socket, 65536, 64)
        assert data[0] == 1
        reader = Reader(data[1:])
        assert reader.varint() == self.tag
        reader.at += 1
        return reader.data[reader.at - 1], reader, found

    def put(self, content, content_type=b""):
        memory = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(memory, content)
        fcntl.fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
        kind, reader, _ = self.ask(PUT, varint(len(content)) + varint(len(content_type)) + content_type, [memory])
        os.close(memory)
        assert kind == STORED, reader.data
        return reader.varint()

    def put_doubles(self, numbers):
        """An array of float64."""
        return self.put(array.array("d", numbers).tobytes(),
                        f"application/x-futured-array; dtype=float64; shape={len(numbers)}".encode())

    def result(self, job, part=0):
        """The bytes of a part of a job's result; what the daemon says when it cannot give them."""
        kind, reader, found = self.ask(GET_RESULT, varint(job) + varint(part))
        if kind != FOUND:
            return reader.data[reader.at + 1:]
        assert reader.varint() == 1
        reader.varint()
        begin, end = reader.varint(), reader.varint()
        content = os.pread(found[0], end - begin, begin)
        os.close(found[0])
        return content
