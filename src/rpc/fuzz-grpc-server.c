// SPDX-License-Identifier: Apache-2.0
#include "rpc/fuzz-conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char prefix[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"; // and SETTINGS
	fuzz_server(RPC_PROTO_GRPC, prefix, sizeof(prefix) - 1, data, size);
	return 0;
}
