// SPDX-License-Identifier: Apache-2.0
/*
 * What the layer pipeline costs, beside GNU tar:
 *   layer-bench apply|overlay|inflate FILE [ROOT]   one layer (plain, gzip, zstd) through layer_stream
 *   layer-bench parse FILE                  the tar parser alone, no disk
 *   layer-bench small N FILE                writes a tar of N small files, in 100 to a directory
 *   layer-bench diff LOWER UPPER OUT        compares two trees; overlaydiff: UPPER is an overlay's upper
 * directory Prints seconds of wall clock and of CPU, and the diff id. bench/layer-bench.sh runs it with a
 * file system of its own.
 */
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "diff/compare.h"
#include "diff/layer.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static double cpu_seconds(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool run_layer(const char *file, const char *root, LayerWhiteout whiteout, GError **error)
{
	autofd fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", file);
	LayerStreamOptions o = {.root = root, .compression = COMPRESSION_UNKNOWN, .apply.whiteout = whiteout};
	g_auto(LayerStreamResult) r = {0};
	if (!layer_stream_run(&o, byte_source_fd, GINT_TO_POINTER(fd), NULL, NULL, &r, error))
		return false;
	printf("%s %" G_GINT64_FORMAT " bytes, %" G_GINT64_FORMAT " entries\n", r.diff_id, r.size,
	       r.apply.entries);
	return true;
}

static bool run_parse(const char *file, GError **error)
{
	autofd fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", file);
	g_autoptr(TarReader) r = tar_reader_new(byte_source_fd, GINT_TO_POINTER(fd));
	const TarHeader *h;
	int64_t n = 0;
	int more;
	while ((more = tar_reader_next(r, &h, error)) == 1)
		n++;
	printf("%" G_GINT64_FORMAT " entries\n", n);
	return more == 0;
}

static bool write_small(int n, const char *file, GError **error)
{
	autofd fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", file);
	g_autoptr(TarWriter) w = tar_writer_new(byte_sink_fd, GINT_TO_POINTER(fd));
	uint8_t content[8192];
	memset(content, 'x', sizeof content);
	TarTime t = {1700000000, 0, true};
	char name[64];
	for (int i = 0; i < n; i++) {
		if (i % 100 == 0) {
			g_snprintf(name, sizeof name, "dir-%d/", i / 100);
			TarHeader h = {.type = TAR_TYPE_DIR, .name = name, .mode = 0755, .mtime = t};
			if (!tar_writer_header(w, &h, error))
				return false;
		}
		g_snprintf(name, sizeof name, "dir-%d/file-%d", i / 100, i);
		if (!tar_writer_file(w, name, 0644, t, content, (size_t)(i * 37) % 4096, error))
			return false;
	}
	return tar_writer_finish(w, error);
}

static bool run_diff(const char *lower, const char *upper, const char *out, bool overlay, GError **error)
{
	autofd fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", out);
	g_auto(CompareResult) r = {0};
	if (!compare_layer(lower, upper, overlay, COMPRESSION_NONE, NULL, byte_sink_fd, GINT_TO_POINTER(fd),
	                   &r, error))
		return false;
	printf("%s %" G_GINT64_FORMAT " bytes\n", r.diff_id, r.size);
	return true;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	if (argc < 3) {
		fprintf(stderr, "usage: layer-bench apply FILE ROOT | inflate FILE | parse FILE | small N "
		                "FILE | diff LOWER UPPER OUT\n");
		return 2;
	}
	int64_t start = time_mono();
	bool ok;
	if (strcmp(argv[1], "small") == 0 && argc > 3)
		ok = write_small((int)g_ascii_strtoll(argv[2], NULL, 10), argv[3], &error);
	else if (g_str_has_suffix(argv[1], "diff") && argc > 4)
		ok = run_diff(argv[2], argv[3], argv[4], strcmp(argv[1], "diff") != 0, &error);
	else if (strcmp(argv[1], "parse") == 0)
		ok = run_parse(argv[2], &error);
	else
		ok = run_layer(argv[2], argc > 3 ? argv[3] : NULL,
		               strcmp(argv[1], "overlay") == 0 ? LAYER_WHITEOUT_OVERLAY
		                                               : LAYER_WHITEOUT_REMOVE,
		               &error);
	if (!ok) {
		fprintf(stderr, "layer-bench: %s\n", error->message);
		return 1;
	}
	printf("%.2f s, %.2f s CPU\n", (double)(time_mono() - start) / 1e9, cpu_seconds());
	return 0;
}
