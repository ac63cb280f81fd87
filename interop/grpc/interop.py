"""gRPC's interop cases by grpcio: `interop.py client DESCRIPTORS PORT`, `interop.py server DESCRIPTORS`."""

import sys
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TESTING = descriptor_pool.DescriptorPool()
with open(sys.argv[2], "rb") as file:
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        TESTING.Add(proto)

SERVICE = "grpc.testing.TestService"
INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"


def message(name):
    return message_factory.GetMessageClass(TESTING.FindMessageTypeByName("grpc.testing." + name))


METHODS = TESTING.FindServiceByName(SERVICE).methods_by_name
Payload, SimpleRequest, SimpleResponse = map(message, ["Payload", "SimpleRequest", "SimpleResponse"])
Input, Inputs = map(message, ["StreamingInputCallRequest", "StreamingInputCallResponse"])
Outputs, Output = map(message, ["StreamingOutputCallRequest", "StreamingOutputCallResponse"])
Empty = message("Empty")


def stub(channel, name, service=SERVICE):
    method = METHODS[name]
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    answer = message_factory.GetMessageClass(method.output_type)
    return kinds[method.client_streaming, method.server_streaming](
        f"/{service}/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString,
    )


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def client(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    zipped = grpc.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip)
    large = SimpleRequest(response_size=314159, payload=Payload(body=bytes(271828)))
    wanted = [31415, 9, 2653, 58979]

    def unary(channel):
        assert len(stub(channel, "UnaryCall")(large).payload.body) == 314159

    def metadata():
        sent = [(INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab")]
        answer, call = stub(channel, "UnaryCall").with_call(large, metadata=sent)
        assert dict(call.initial_metadata())[INITIAL] == "test_initial_metadata_value"
        assert dict(call.trailing_metadata())[TRAILING] == b"\xab\xab\xab"

    def inputs(channel):
        sent = (Input(payload=Payload(body=bytes(size))) for size in [27182, 8, 1828, 45904])
        assert stub(channel, "StreamingInputCall")(sent).aggregated_payload_size == 74922

    def outputs(channel):
        request = Outputs(response_parameters=[{"size": size} for size in wanted])
        came = [len(answer.payload.body) for answer in stub(channel, "StreamingOutputCall")(request)]
        assert came == wanted, came

    def late():
        sent = iter([Outputs(response_parameters=[{"size": 1, "interval_us": 2_000_000}])])
        call = stub(channel, "FullDuplexCall")
        assert code_of(lambda: list(call(sent, timeout=0.05))) == grpc.StatusCode.DEADLINE_EXCEEDED

    def unknown():
        call = stub(channel, "EmptyCall", "grpc.testing.UnimplementedService")
        assert code_of(lambda: call(Empty())) == grpc.StatusCode.UNIMPLEMENTED

    def status():
        request = SimpleRequest(response_status={"code": 2, "message": "\t\n☺ 😈\t\n"})
        try:
            stub(channel, "UnaryCall")(request)
        except grpc.RpcError as error:
            assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "\t\n☺ 😈\t\n")
        else:
            raise AssertionError("it went well")

    cases = {
        "empty_unary": lambda: stub(channel, "EmptyCall")(Empty()),
        "large_unary": lambda: unary(channel),
        "compressed_unary": lambda: unary(zipped),
        "client_streaming": lambda: inputs(channel),
        "client_compressed_streaming": lambda: inputs(zipped),
        "server_streaming": lambda: outputs(channel),
        "server_compressed_streaming": lambda: outputs(zipped),
        "custom_metadata": metadata,
        "timeout_on_sleeping_server": late,
        "unimplemented_service": unknown,
        "special_status_message": status,
    }
    failed = 0
    for name, case in cases.items():
        try:
            case()
            print("passed", name)
        except Exception as error:  # whatever it is, the others are to run
            failed += 1
            print("FAILED", name, repr(error))
    print(f"{len(cases) - failed} passed, {failed} failed")
    return failed


class Interop(grpc.GenericRpcHandler):
    def service(self, details):
        service, _, name = details.method.lstrip("/").partition("/")
        answer = getattr(self, name, None)
        if service != SERVICE or answer is None:
            return None
        method = METHODS[name]
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        request = message_factory.GetMessageClass(method.input_type)
        return kinds[method.client_streaming, method.server_streaming](
            answer, request.FromString, lambda message: message.SerializeToString()
        )

    @staticmethod
    def echo(context):
        came = dict(context.invocation_metadata())
        if INITIAL in came:
            context.send_initial_metadata([(INITIAL, came[INITIAL])])
        if TRAILING in came:
            context.set_trailing_metadata([(TRAILING, came[TRAILING])])

    @staticmethod
    def check(request, context):
        if request.response_status.code:
            code = {code.value[0]: code for code in grpc.StatusCode}[request.response_status.code]
            context.abort(code, request.response_status.message)

    def EmptyCall(self, request, context):
        self.echo(context)
        return Empty()

    def UnaryCall(self, request, context):
        self.echo(context)
        self.check(request, context)
        return SimpleResponse(payload=Payload(body=bytes(request.response_size)))

    def StreamingInputCall(self, requests, context):
        return Inputs(aggregated_payload_size=sum(len(one.payload.body) for one in requests))

    def StreamingOutputCall(self, request, context):
        for one in request.response_parameters:
            time.sleep(one.interval_us / 1e6)
            yield Output(payload=Payload(body=bytes(one.size)))

    def FullDuplexCall(self, requests, context):
        self.echo(context)
        for request in requests:
            self.check(request, context)
            yield from self.StreamingOutputCall(request, context)


def server():
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), [Interop()], options=options)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    sys.exit(client(sys.argv[3]) if sys.argv[1] == "client" else server())
