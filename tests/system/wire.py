"""The public API over plain gRPC, without our client: what a program in any other language does."""
import importlib
import os
import subprocess
import sys

import grpc
from private_daemon import ROOT

SECONDS = 30


def compile_api(folder):
    """Compiles proto/futured/v1 with protoc and returns its three modules as one namespace."""
    proto = os.path.join(ROOT, "proto")
    files = [os.path.join(proto, "futured", "v1", name) for name in ("types.proto", "futured.proto", "callback.proto")]
    subprocess.run(["protoc", f"-I{proto}", f"--python_out={folder}", *files], check=True)
    sys.path.insert(0, str(folder))
    words = {}
    for name in ("types", "futured", "callback"):
        words.update(vars(importlib.import_module(f"futured.v1.{name}_pb2")))
    return type("Words", (), words)


class Api:
    """Calls by name: api.call("Jobs", "Submit", SubmitRequest(...)). Its `words` are the messages and enums."""

    def __init__(self, words, socket):
        self.words = words
        # A connection of its own: gRPC would share a broken one with an earlier client of the same path.
        self.channel = grpc.insecure_channel("unix:" + socket, options=[("grpc.use_local_subchannel_pool", 1)])

    def close(self):
        self.channel.close()

    def _method(self, kind, service, method):
        file = self.words.DESCRIPTOR.pool.FindServiceByName(f"futured.v1.{service}")
        descriptor = file.methods_by_name[method]
        answer = getattr(self.words, descriptor.output_type.name)
        return getattr(self.channel, kind)(
            f"/futured.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def call(self, service, method, request, seconds=SECONDS):
        return self._method("unary_unary", service, method)(request, timeout=seconds)

    def stream(self, service, method, request, seconds=SECONDS):
        """Of a call that answers with a stream."""
        return self._method("unary_stream", service, method)(request, timeout=seconds)

    def both(self, service, method, requests, seconds=SECONDS):
        """Of a call with a stream each way."""
        return self._method("stream_stream", service, method)(requests, timeout=seconds)

    # ---- short forms

    def task_item(self, data=b"", **fields):
        return self.words.Item(parts=[self.words.Part(data=data)], **fields)

    def command_item(self, *argv, **fields):
        words = [word if isinstance(word, bytes) else os.fsencode(word) for word in argv]
        return self.words.Item(command=self.words.Command(argv=words, **fields))

    def submit(self, items, seconds=SECONDS, **spec):
        """Ids of the jobs, in the order of the items."""
        request = self.words.SubmitRequest(spec=self.words.JobSpec(**spec), items=items)
        answer = self.call("Jobs", "Submit", request, seconds)
        return list(answer.ids) or list(range(answer.first_id, answer.first_id + answer.count))

    def submit_tasks(self, task, count=1, data=b"", **spec):
        return self.submit([self.task_item(data) for _ in range(count)], task=task, **spec)

    def submit_command(self, *argv, **spec):
        return self.submit([self.command_item(*argv)], **spec)[0]

    def wait(self, ids, seconds=SECONDS):
        """Outcomes by id, once all have ended. A packed outcome is given as a plain one."""
        words = self.words
        request = words.WaitRequest(ids=[words.IdRange(first=job, last=job) for job in ids])
        outcomes = {}
        for answer in self.stream("Jobs", "Wait", request, seconds):
            assert not answer.unknown, f"unknown jobs: {answer.unknown}"
            for outcome in answer.outcomes:
                outcomes[outcome.id] = outcome
            for packed in answer.packed:
                outcomes.update(self._unpacked(packed))
        return outcomes

    def _unpacked(self, packed):
        words = self.words
        offset = 0
        for index in range(packed.count):
            job = packed.first_id + (packed.id_offsets[index] if packed.id_offsets else index)
            outcome = words.Outcome(id=job, state=words.JOB_STATE_SUCCEEDED)
            if packed.sizes:
                size = packed.sizes[index]
                outcome.result.add(data=packed.results[offset : offset + size])
                offset += size
            yield job, outcome

    def outcome(self, job, seconds=SECONDS):
        return self.wait([job], seconds)[job]

    def get(self, job, details=False):
        return self.call("Jobs", "Get", self.words.GetJobRequest(id=job, details=details))

    def cancel(self, job, **fields):
        request = self.words.CancelRequest(ids=[self.words.IdRange(first=job, last=job)], **fields)
        return self.call("Jobs", "Cancel", request)

    def info(self):
        return self.call("Admin", "Info", self.words.InfoRequest())
