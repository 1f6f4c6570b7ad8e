// SPDX-License-Identifier: Apache-2.0
#include "rpc/fuzz-conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char prefix[] = "\0\0\0\x04\0\0\0\0\0"; // SETTINGS
	fuzz_client(RPC_PROTO_GRPC, prefix, sizeof(prefix) - 1, data, size);
	return 0;
}
