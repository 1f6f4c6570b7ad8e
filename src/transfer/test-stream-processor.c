// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "transfer/stream-processor.h"
#include <signal.h>
#include <string.h>

static StreamProcessor *processor(const char *id, const char *accepts, const char *returns,
                                  const char *script)
{
	StreamProcessor *p = g_new0(StreamProcessor, 1);

	p->id = g_strdup(id);
	p->accepts = g_strsplit(accepts, ",", -1);
	p->returns = g_strdup(returns);
	p->path = g_strdup("sh");
	p->args = g_strsplit("-c\n", "\n", -1);
	g_free(p->args[1]);
	p->args[1] = g_strdup(script);
	p->env = g_strsplit("GREETING=hi there", "\n", -1);
	return p;
}

static GPtrArray *list(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)stream_processor_free);
}

/* ---- a source of many bytes ---- */

typedef struct {
	size_t left;
	bool fail;
} Source;

static ssize_t read_source(void *data, void *buf, size_t len, GError **error)
{
	Source *s = data;
	size_t n = MIN(len, s->left);

	if (n == 0 && s->fail) {
		error_set(error, CTRD_ERR_UNKNOWN, "the disk is gone");
		return -1;
	}
	memset(buf, 'x', n);
	s->left -= n;
	return (ssize_t)n;
}

/* Runs one script over the source; the output, or NULL and an error. */
static char *run(const char *script, Source *source, Cancel *cancel, GError **error)
{
	g_autoptr(GPtrArray) chain = list();
	g_autoptr(GString) out = g_string_new(NULL);
	char buf[4096];
	ssize_t n;

	g_ptr_array_add(chain, processor("p", "a", "b", script));
	g_autoptr(StreamPipe) pipe = stream_pipe_new(chain, "a", read_source, source, cancel, error);
	if (pipe == NULL)
		return NULL;
	while ((n = stream_pipe_read(pipe, buf, sizeof(buf), NULL)) > 0 && out->len < 64)
		g_string_append_len(out, buf, n);
	return stream_pipe_finish(pipe, error) ? g_string_free(g_steal_pointer(&out), FALSE) : NULL;
}

static void assert_output(const char *script, size_t input, const char *expected)
{
	g_autoptr(GError) error = NULL;
	Source source = {.left = input};
	g_autofree char *out = run(script, &source, NULL, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(g_strstrip(out), ==, expected);
}

static void assert_failure(const char *script, size_t input, const char *expected)
{
	g_autoptr(GError) error = NULL;
	Source source = {.left = input};
	g_autofree char *out = run(script, &source, NULL, &error);

	g_assert_null(out);
	g_assert_cmpstr(error->message, ==, expected);
}

static void test_run(void)
{
	assert_output("wc -c", (size_t)5 << 20, "5242880");
	assert_output("cat >/dev/null; echo $STREAM_PROCESSOR_MEDIATYPE $GREETING", 10, "a hi there");
	assert_output("echo early", (size_t)5 << 20, "early"); // it need not read all
	assert_output("cat", 0, "");
	assert_failure("cat >/dev/null; echo no key >&2; exit 3", 10, "stream processor \"p\": no key");
	assert_failure("exec 1>&-; cat >/dev/null; exit 3", (size_t)5 << 20,
	               "stream processor \"p\": exit status 3");
	assert_failure("kill -9 $$", (size_t)5 << 20, "stream processor \"p\": signal: killed");
	// A complaint without an end is cut.
	g_autoptr(GError) error = NULL;
	Source source = {0};
	g_assert_null(run("yes complaint | head -c 100000 >&2; exit 1", &source, NULL, &error));
	g_assert_cmpuint(strlen(error->message), <, 17000);
}

static void test_source_fails(void)
{
	g_autoptr(GError) error = NULL;
	Source source = {.left = 100, .fail = true};

	g_assert_null(run("cat", &source, NULL, &error));
	g_assert_cmpstr(error->message, ==, "the disk is gone");
}

static void test_no_program(void)
{
	g_autoptr(GPtrArray) chain = list();
	g_autoptr(GError) error = NULL;
	StreamProcessor *p = processor("p", "a", "b", "");
	Source source = {0};

	g_free(p->path);
	p->path = g_strdup("no-such-program-here");
	g_ptr_array_add(chain, processor("first", "x", "a", "cat"));
	g_ptr_array_add(chain, p);
	g_assert_null(stream_pipe_new(chain, "x", read_source, &source, NULL, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "stream processor \"p\": exec: \"no-such-program-here\": executable file not found in $PATH");
}

static void *cancel_soon(void *data)
{
	g_usleep(50000);
	cancel_trigger(data, false);
	return NULL;
}

/* A program that hangs goes with its caller, and without one when the pipe is freed. */
static void test_hang(void)
{
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	g_autoptr(GPtrArray) chain = list();
	g_autoptr(GError) error = NULL;
	Source source = {.left = (size_t)5 << 20};
	pthread_t thread;

	g_assert_cmpint(thread_start(&thread, "cancel", 0, cancel_soon, cancel), ==, 0);
	g_assert_null(run("exec sleep 1000", &source, cancel, &error));
	g_assert_cmpstr(error->message, ==, "stream processor \"p\": signal: killed");
	pthread_join(thread, NULL);
	g_ptr_array_add(chain, processor("p", "a", "b", "exec sleep 1000"));
	StreamPipe *pipe = stream_pipe_new(chain, "a", read_source, &source, NULL, NULL);
	g_assert_nonnull(pipe);
	stream_pipe_free(pipe);
}

static void assert_chain(GPtrArray *all, const char *type, const char *ids, const char *result)
{
	const char *out = NULL;
	g_autoptr(GPtrArray) chain = stream_processor_chain(all, type, &out, NULL);
	g_autoptr(GString) got = g_string_new(NULL);

	for (guint i = 0; i < chain->len; i++)
		g_string_append_printf(got, "%s ", ((StreamProcessor *)chain->pdata[i])->id);
	g_assert_cmpstr(got->str, ==, ids);
	g_assert_cmpstr(out, ==, result);
}

static void test_chain(void)
{
	g_autoptr(GPtrArray) all = list();
	g_autoptr(GError) error = NULL;
	const char *out;

	g_ptr_array_add(all, processor("old", "enc,other", "x", ""));
	g_ptr_array_add(all, processor("decrypt", "enc", "zip", ""));
	g_ptr_array_add(all, processor("unzip", "zip", "application/vnd.oci.image.layer.v1.tar", ""));
	g_ptr_array_add(all, processor("tar", "application/vnd.oci.image.layer.v1.tar", "tar2", ""));
	g_ptr_array_add(all, processor("circle", "round", "round", ""));
	assert_chain(NULL, "enc", "", "enc");
	assert_chain(all, NULL, "", "");
	assert_chain(all, "plain", "", "plain");
	assert_chain(all, "enc", "decrypt unzip ",
	             "application/vnd.oci.image.layer.v1.tar"); // the last one; and its end
	assert_chain(all, "other", "old ", "x");
	g_assert_null(stream_processor_chain(all, "round", &out, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "failed to get stream processor for round: more than 16 in a row: resource exhausted");
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stream-processor/run", test_run);
	g_test_add_func("/stream-processor/source-fails", test_source_fails);
	g_test_add_func("/stream-processor/no-program", test_no_program);
	g_test_add_func("/stream-processor/hang", test_hang);
	g_test_add_func("/stream-processor/chain", test_chain);
	return g_test_run();
}
