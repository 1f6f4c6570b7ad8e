// SPDX-License-Identifier: Apache-2.0
/*
 * Applies whatever it gets to a directory that lies in another one, and checks that the outer one is as it
 * was. The directory is on /dev/shm where there is one: a run is some file system calls.
 */
#include "base/fs.h"
#include "base/log.h"
#include "diff/layer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char outer[] = "/dev/shm/fuzz-tar-apply-XXXXXX";

static void clean(void)
{
	tree_remove(outer, NULL);
}

static void prepare(void)
{
	if (access("/dev/shm", W_OK) < 0)
		memcpy(outer, "/tmp/////", 9);
	if (mkdtemp(outer) == NULL)
		abort();
	atexit(clean);
	log_set_level(LOG_FATAL);
	g_autofree char *etc = path_join(outer, "etc"), *file = path_join(outer, "etc/passwd");
	if (mkdir(etc, 0700) < 0 || !file_write_atomic(file, "outside", 7, 0600, false, NULL))
		abort();
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "outside the root: %s\n", what);
	abort();
}

/* What lies beside the root, in full. */
static void check_outside(void)
{
	g_autoptr(GPtrArray) names = dir_list(outer, 0, NULL);
	check(names != NULL && names->len == 2, "names");
	g_autofree char *etc = path_join(outer, "etc"), *file = path_join(outer, "etc/passwd"),
	                *content = NULL;
	g_autoptr(GPtrArray) inside = dir_list(etc, 0, NULL);
	check(inside != NULL && inside->len == 1, "etc");
	struct stat st;
	check(lstat(etc, &st) == 0 && st.st_mode == (S_IFDIR | 0700), "mode of etc");
	check(lstat(file, &st) == 0 && st.st_mode == (S_IFREG | 0600) && st.st_nlink == 1, "passwd");
	check(file_read(file, 100, &content, NULL, NULL) && strcmp(content, "outside") == 0, "content");
}

static void apply(const uint8_t *data, size_t size, LayerWhiteout whiteout, bool fill)
{
	g_autofree char *root = path_join(outer, "root"), *a = path_join(outer, "root/a"),
	                *f = path_join(outer, "root/a/f"), *link = path_join(outer, "root/l");
	check(mkdir(root, 0755) == 0, "root");
	if (fill)
		check(mkdir(a, 0755) == 0 && file_write_atomic(f, "x", 1, 0644, false, NULL) &&
		              symlink("../etc", link) == 0,
		      "root");
	LayerStreamOptions o = {
	        .root = root,
	        .apply = {.whiteout = whiteout, .max_size = 1 << 20, .max_entries = 1000},
	        .compression = COMPRESSION_UNKNOWN,
	        .max_size = 8 << 20,
	};
	g_auto(LayerStreamResult) r = {0};
	g_autoptr(LayerStream) s = layer_stream_new(&o, NULL);
	check(s != NULL, "new");
	if (layer_stream_write(s, data, size, NULL))
		layer_stream_finish(s, &r, NULL);
	check_outside();
	check(tree_remove(root, NULL), "remove");
}

/* Sets the checksums of what looks like headers right, or no mutation would get past them. */
static uint8_t *repair(const uint8_t *data, size_t size)
{
	uint8_t *copy = g_memdup2(data, size);
	for (size_t at = 0; at + 512 <= size; at += 512) {
		uint8_t *b = copy + at;
		if (memcmp(b + 257, "ustar", 5) != 0)
			continue;
		memset(b + 148, ' ', 8);
		unsigned sum = 0;
		for (int i = 0; i < 512; i++)
			sum += b[i];
		g_snprintf((char *)b + 148, 8, "%06o", sum);
	}
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static bool ready;
	if (!ready)
		prepare();
	ready = true;
	g_autofree uint8_t *data = size > 0 ? repair(input, size) : NULL;
	apply(data, size, LAYER_WHITEOUT_REMOVE, false);
	apply(data, size, LAYER_WHITEOUT_REMOVE, true);
	apply(data, size, LAYER_WHITEOUT_OVERLAY, true);
	return 0;
}
