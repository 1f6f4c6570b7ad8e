// SPDX-License-Identifier: Apache-2.0
/* The layer pipeline: what comes out is right however it goes in, errors of each stage reach the producer,
 * nothing hangs when it is given up. */

#include "diff/layer.h"
#include "diff/test-support.h"

#include "base/log.h"

/* An archive of `files` files of `size` bytes, and its digest. */
static GByteArray *make_layer(unsigned files, size_t size, Compression c, char **ret_digest)
{
	g_auto(Tar) t = tar_begin();
	g_autofree char *content = g_malloc(size + 1);
	uint32_t x = 1; // hardly compressible: the streams are larger than what runs without threads
	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		content[i] = (char)('!' + (x >> 24) % 90);
	}
	content[size] = '\0';
	for (unsigned i = 0; i < files; i++) {
		g_autofree char *name = g_strdup_printf("dir-%u/file-%u", i / 10, i);
		tar_file(&t, name, content, 0644);
	}
	tar_end(&t);
	*ret_digest = digest_bytes(t.bytes->data, t.bytes->len);
	GByteArray *out = g_byte_array_new();
	g_autoptr(Compressor) z = compressor_new(c, to_bytes, out);
	g_assert_true(compressor_write(z, t.bytes->data, t.bytes->len, NULL));
	g_assert_true(compressor_finish(z, NULL));
	return out;
}

static void test_whole(void)
{
	static const Compression kinds[] = {COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD};
	static const struct {
		unsigned files;
		size_t size;
	} shapes[] = {{0, 0}, {3, 100}, {400, 3000}, {5, 1500000}};
	for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++)
		for (size_t j = 0; j < G_N_ELEMENTS(shapes); j++) {
			g_autofree char *digest = NULL;
			g_autoptr(GByteArray) layer =
			        make_layer(shapes[j].files, shapes[j].size, kinds[k], &digest);
			for (size_t piece = 1000; piece < 2000000; piece *= 30) {
				autoscratch root = scratch_new();
				LayerStreamOptions o = {.root = piece == 30000 ? NULL : root,
				                        .compression = COMPRESSION_UNKNOWN};
				g_autoptr(GError) error = NULL;
				g_autoptr(LayerStream) s = layer_stream_new(&o, &error);
				g_assert_no_error(error);
				for (size_t at = 0; at < layer->len; at += piece) {
					layer_stream_write(s, layer->data + at, MIN(piece, layer->len - at),
					                   &error);
					g_assert_no_error(error);
				}
				g_auto(LayerStreamResult) r = {0};
				layer_stream_finish(s, &r, &error);
				g_assert_no_error(error);
				g_assert_cmpstr(r.diff_id, ==, digest);
				g_assert_cmpint(r.compression, ==, kinds[k]);
				g_assert_cmpint(r.size % TAR_BLOCK, ==, 0);
				if (o.root == NULL)
					continue;
				g_assert_cmpint(r.apply.files, ==, shapes[j].files);
				g_assert_cmpint(r.apply.size, ==,
				                (int64_t)(shapes[j].files * shapes[j].size));
			}
		}
}

typedef struct {
	BytesSource bytes;
	size_t fail_after;
	Cancel *cancel;
} FailingSource;

static ssize_t failing_source(void *data, void *buf, size_t len, GError **error)
{
	FailingSource *f = data;
	if (f->bytes.len < f->fail_after) {
		if (f->cancel == NULL) {
			error_set(error, CTRD_ERR_UNAVAILABLE, "the network is gone");
			return -1;
		}
		cancel_trigger(f->cancel, false);
	}
	return from_bytes(&f->bytes, buf, len, error);
}

static void count_progress(void *data, int64_t taken)
{
	int64_t *last = data;
	g_assert_cmpint(taken, >, *last);
	*last = taken;
}

static void test_run(void)
{
	g_autofree char *digest = NULL;
	g_autoptr(GByteArray) layer = make_layer(10, 300000, COMPRESSION_GZIP, &digest);
	autoscratch root = scratch_new();
	LayerStreamOptions o = {.root = root, .compression = COMPRESSION_UNKNOWN};
	g_autoptr(GError) error = NULL;
	g_auto(LayerStreamResult) r = {0};
	int64_t progress = 0;
	BytesSource s = {layer->data, layer->len, 5000};
	layer_stream_run(&o, from_bytes, &s, count_progress, &progress, &r, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(r.diff_id, ==, digest);
	g_assert_cmpint(progress, ==, layer->len);

	FailingSource f = {{layer->data, layer->len, 5000}, layer->len / 2, NULL};
	g_auto(LayerStreamResult) r2 = {0};
	g_assert_false(layer_stream_run(&o, failing_source, &f, NULL, NULL, &r2, &error));
	assert_error_text(error, "the network is gone");
	g_clear_error(&error);

	g_autoptr(Cancel) cancel = cancel_new(NULL);
	o.apply.cancel = cancel;
	f = (FailingSource){{layer->data, layer->len, 5000}, layer->len / 2, cancel};
	g_assert_false(layer_stream_run(&o, failing_source, &f, NULL, NULL, &r2, &error));
	assert_error_text(error, "context canceled");
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
}

/* An error of one stage stops the others and comes out of write or finish. */
static void assert_stream_fails(const LayerStreamOptions *o, const GByteArray *layer, size_t len,
                                const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(LayerStream) s = layer_stream_new(o, &error);
	g_assert_no_error(error);
	g_auto(LayerStreamResult) r = {0};
	if (layer_stream_write(s, layer->data, len, &error))
		g_assert_false(layer_stream_finish(s, &r, &error));
	assert_error_text(error, text);
	// it stays failed
	g_clear_error(&error);
	g_assert_false(layer_stream_finish(s, &r, &error));
	g_assert_nonnull(error);
}

static void test_errors(void)
{
	for (int large = 0; large < 2; large++) {
		g_autofree char *digest = NULL, *same = NULL;
		g_autoptr(GByteArray) gz =
		        make_layer(large ? 200 : 2, large ? 50000 : 500, COMPRESSION_GZIP, &digest);
		g_autoptr(GByteArray) plain =
		        make_layer(large ? 200 : 2, large ? 50000 : 500, COMPRESSION_NONE, &same);
		autoscratch root = scratch_new();
		LayerStreamOptions o = {.root = root, .compression = COMPRESSION_UNKNOWN};
		assert_stream_fails(&o, gz, gz->len - 1, "unexpected EOF");
		assert_stream_fails(&o, plain, plain->len - 1500, "unexpected EOF");
		gz->data[gz->len - 5] ^= 1;
		assert_stream_fails(&o, gz, gz->len, "gzip: invalid checksum");
		gz->data[gz->len - 5] ^= 1;
		plain->data[600] ^= 1; // content: fine; header: not
		plain->data[3] ^= 1;
		assert_stream_fails(&o, plain, plain->len, "archive/tar: invalid tar header");
		o.max_size = 1000;
		assert_stream_fails(&o, gz, gz->len, "uncompressed layer is over the limit of 1000 bytes");
	}
}

static void test_give_up(void)
{
	g_autofree char *digest = NULL;
	g_autoptr(GByteArray) gz = make_layer(200, 50000, COMPRESSION_GZIP, &digest);
	autoscratch root = scratch_new();
	g_assert_cmpuint(gz->len, >, 4 * LAYER_STREAM_INLINE);
	LayerStreamOptions o = {.root = root, .compression = COMPRESSION_UNKNOWN};
	for (size_t len = 1; len < gz->len; len = len * 3 + 1000) {
		LayerStream *s = layer_stream_new(&o, NULL);
		g_assert_true(layer_stream_write(s, gz->data, len, NULL));
		layer_stream_free(s);
	}
	g_autoptr(LayerStream) s = layer_stream_new(&o, NULL);
	g_assert_true(layer_stream_write(s, gz->data, 70000, NULL));
	layer_stream_abort(s);
	g_autoptr(GError) error = NULL;
	g_auto(LayerStreamResult) r = {0};
	g_assert_false(layer_stream_finish(s, &r, &error));
	assert_error_text(error, "context canceled");
	o.root = "/does/not/exist";
	g_clear_error(&error);
	g_assert_null(layer_stream_new(&o, &error));
	assert_error_text(error, "open /does/not/exist: no such file or directory");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diff/layer/whole", test_whole);
	g_test_add_func("/diff/layer/run", test_run);
	g_test_add_func("/diff/layer/errors", test_errors);
	g_test_add_func("/diff/layer/give-up", test_give_up);
	return g_test_run();
}
