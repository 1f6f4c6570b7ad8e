// SPDX-License-Identifier: Apache-2.0
#include "rpc/fuzz-conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{

	fuzz_client(RPC_PROTO_TTRPC, NULL, 0, data, size);
	return 0;
}
