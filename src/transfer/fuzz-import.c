// SPDX-License-Identifier: Apache-2.0
/* Archives of images: the first byte says how they are taken. */
#include "transfer/test-world.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	WORLD_INPUTS = 500, // what the store has grown to is thrown away then
};

typedef struct {
	const uint8_t *next;
	size_t left;
} Input;

static ssize_t source(void *data, void *buf, size_t len, GError **error)
{
	Input *in = data;
	size_t n = MIN(MIN(len, in->left), 1000); // not all at once
	memcpy(buf, in->next, n);
	in->next += n;
	in->left -= n;
	return (ssize_t)n;
}

static World *w;

static void end_world(void)
{
	world_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned n;
	if (size == 0)
		return 0;
	if (n++ % WORLD_INPUTS == 0) {
		if (w != NULL)
			end_world();
		else
			atexit(end_world);
		w = world_new();
	}
	Input in = {.next = data + 1, .left = size - 1};
	TransferImport from = {
	        .source = source,
	        .data = &in,
	        .media_type = data[0] & 1 ? "application/vnd.oci.image.layout.v1+tar" : "",
	        .force_compress = (data[0] & 2) != 0,
	};
	TransferReference prefix = {
	        .name = (char *)"example.com/fuzz",
	        .is_prefix = true,
	        .allow_overwrite = (data[0] & 4) != 0,
	        .add_digest = (data[0] & 8) != 0,
	};
	g_autoptr(GPtrArray) references = g_ptr_array_new();
	g_ptr_array_add(references, &prefix);
	TransferImages to = {.name = data[0] & 16 ? "example.com/index:1" : "",
	                     .extra_references = references};
	g_autoptr(GError) error = NULL;
	bool ok = transfer_import(w->transfer, &w->ctx, &from, &to, (TransferProgressSink){0}, &error);
	g_assert(ok == (error == NULL));
	return 0;
}
