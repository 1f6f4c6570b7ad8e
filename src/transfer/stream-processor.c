// SPDX-License-Identifier: Apache-2.0
#include "transfer/stream-processor.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "oci/media-types.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MAX_CHAIN 16
#define CHUNK ((size_t)64 * 1024)
/* Of a program's complaint this much is told. */
#define COMPLAINT_MAX 16384

void stream_processor_free(StreamProcessor *p)
{
	g_free(p->id);
	g_strfreev(p->accepts);
	g_free(p->returns);
	g_free(p->path);
	g_strfreev(p->args);
	g_strfreev(p->env);
	g_free(p);
}

static StreamProcessor *find(const GPtrArray *processors, const char *media_type)
{
	for (guint i = processors != NULL ? processors->len : 0; i-- > 0;) {
		StreamProcessor *p = processors->pdata[i];

		if (g_strv_contains((const char *const *)p->accepts, media_type))
			return p;
	}
	return NULL;
}

GPtrArray *stream_processor_chain(const GPtrArray *processors, const char *media_type, const char **ret_type,
                                  GError **error)
{
	g_autoptr(GPtrArray) chain = g_ptr_array_new();
	StreamProcessor *p;

	*ret_type = str_or(media_type, "");
	while ((p = find(processors, *ret_type)) != NULL) {
		if (chain->len == MAX_CHAIN) {
			error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                "failed to get stream processor for %s: more than %d in a row",
			                media_type, MAX_CHAIN);
			return NULL;
		}
		g_ptr_array_add(chain, p);
		*ret_type = p->returns;
		if (strcmp(p->returns, MEDIA_TYPE_OCI_LAYER) == 0)
			break;
	}
	return g_steal_pointer(&chain);
}

/* ---- running them ---- */

typedef struct {
	const char *id;
	pid_t pid;     // 0: none, or waited for. Under the lock
	int complaint; // what it wrote to its standard error
} Child;

struct StreamPipe {
	Child children[MAX_CHAIN];
	size_t n;
	int out; // of the last one
	int in;  // of the first one; the feeder's
	ByteSource source;
	void *data;
	GError *source_error; // after the feeder's end
	pthread_t feeder;
	bool fed; // there is a feeder
	Cancel *cancel;
	unsigned on_cancel;
	Lock lock;
};

static void kill_all(void *data)
{
	StreamPipe *p = data;

	LOCK_SCOPE(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		if (p->children[i].pid > 0)
			kill(p->children[i].pid, SIGKILL);
	}
}

static void *feed(void *data)
{
	StreamPipe *p = data;
	g_autofree char *buf = g_malloc(CHUNK);
	ssize_t n;

	// A program that has seen enough closes its end; whether that is well its exit status says.
	while ((n = p->source(p->data, buf, CHUNK, &p->source_error)) > 0 &&
	       fd_write_all(p->in, buf, (size_t)n, NULL))
		;
	fd_close(&p->in);
	return NULL;
}

static char **environment(const StreamProcessor *p, const char *media_type)
{
	g_auto(GStrv) ours = g_get_environ();
	char **env = g_steal_pointer(&ours);

	for (size_t i = 0; p->env != NULL && p->env[i] != NULL; i++) {
		const char *equal = strchr(p->env[i], '=');
		g_autofree char *name =
		        equal != NULL ? g_strndup(p->env[i], (gsize)(equal - p->env[i])) : NULL;

		if (name != NULL && name[0] != '\0')
			env = g_environ_setenv(env, name, equal + 1, TRUE);
	}
	return g_environ_setenv(env, "STREAM_PROCESSOR_MEDIATYPE", media_type, TRUE);
}

static bool start(StreamPipe *p, const StreamProcessor *processor, const char *media_type, int in, int out,
                  GError **error)
{
	g_auto(GStrv) env = environment(processor, media_type);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	Child *child = &p->children[p->n];

	child->id = processor->id;
	child->complaint = memfd_create("stderr", MFD_CLOEXEC);
	if (child->complaint < 0)
		return error_set_errno(error, errno, "memfd_create");
	p->n++;
	g_ptr_array_add(argv, processor->path);
	for (size_t i = 0; processor->args != NULL && processor->args[i] != NULL; i++)
		g_ptr_array_add(argv, processor->args[i]);
	g_ptr_array_add(argv, NULL);
	child->pid = process_spawn((const char *const *)argv->pdata, (const char *const *)env, NULL, in, out,
	                           child->complaint, false, error);
	if (child->pid > 0)
		return true;
	child->pid = 0;
	return error_prefix(error, "stream processor %s", Q(processor->id));
}

/* Each reads what the one before writes; the pipes' ends are the programs' alone afterwards. */
static bool start_all(StreamPipe *p, const GPtrArray *chain, const char *media_type, GError **error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(error, errno, "pipe");
	p->in = ends[1];
	autofd in = ends[0];
	for (guint i = 0; i < chain->len; i++) {
		const StreamProcessor *processor = chain->pdata[i];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return error_set_errno(error, errno, "pipe");
		autofd out = ends[1], next = ends[0];
		if (!start(p, processor, media_type, in, out, error))
			return false;
		fd_close(&in);
		in = fd_steal(&next);
		media_type = processor->returns;
	}
	p->out = fd_steal(&in);
	return true;
}

StreamPipe *stream_pipe_new(const GPtrArray *chain, const char *media_type, ByteSource source, void *data,
                            Cancel *cancel, GError **error)
{
	g_autoptr(StreamPipe) p = g_new0(StreamPipe, 1);

	p->in = p->out = -1;
	p->source = source;
	p->data = data;
	p->cancel = cancel;
	lock_init(&p->lock, "stream pipe", LOCK_RANK_LEAF);
	if (!start_all(p, chain, media_type, error))
		return NULL;
	int e = thread_start(&p->feeder, "feeder", 0, feed, p);
	if (e != 0) {
		error_set_errno(error, e, "cannot start a thread");
		return NULL;
	}
	p->fed = true;
	if (cancel != NULL)
		p->on_cancel = cancel_on(cancel, kill_all, p);
	return g_steal_pointer(&p);
}

ssize_t stream_pipe_read(void *pipe, void *buf, size_t len, GError **error)
{
	StreamPipe *p = pipe;
	ssize_t n = RETRY_EINTR(read(p->out, buf, len));

	if (n < 0)
		error_set_errno(error, errno, "read");
	return n;
}

/* Why it failed, in its own words; NULL: it did not. */
static char *wait_child(StreamPipe *p, Child *child)
{
	siginfo_t info;
	int status = 0;
	pid_t pid = child->pid;

	if (pid <= 0)
		return NULL;
	// Seen to be over first, so that nobody kills a number that is another's.
	RETRY_EINTR(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	{
		LOCK_SCOPE(&p->lock);
		child->pid = 0;
	}
	RETRY_EINTR(waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	char text[COMPLAINT_MAX + 1];
	ssize_t n = RETRY_EINTR(pread(child->complaint, text, COMPLAINT_MAX, 0));
	text[n > 0 ? n : 0] = '\0';
	g_strstrip(text);
	return text[0] != '\0' ? g_utf8_make_valid(text, -1) : process_status_text(status);
}

static void end_feeder(StreamPipe *p)
{
	if (!p->fed)
		return;
	p->fed = false;
	pthread_join(p->feeder, NULL);
}

bool stream_pipe_finish(StreamPipe *p, GError **error)
{
	g_autofree char *buf = g_malloc(CHUNK);
	bool ok = true;

	while (RETRY_EINTR(read(p->out, buf, CHUNK)) > 0)
		;
	for (size_t i = 0; i < p->n; i++) {
		g_autofree char *why = wait_child(p, &p->children[i]);

		if (why != NULL && ok)
			ok = error_set(error, CTRD_ERR_UNKNOWN, "stream processor %s: %s",
			               Q(p->children[i].id), why);
	}
	end_feeder(p);
	if (p->source_error == NULL)
		return ok;
	if (ok || error == NULL || *error == NULL) {
		g_propagate_error(error, g_steal_pointer(&p->source_error));
		return false;
	}
	return false;
}

void stream_pipe_free(StreamPipe *p)
{
	if (p == NULL)
		return;
	if (p->on_cancel != 0)
		cancel_off(p->cancel, p->on_cancel);
	kill_all(p);
	for (size_t i = 0; i < p->n; i++) {
		g_free(wait_child(p, &p->children[i]));
		fd_close(&p->children[i].complaint);
	}
	end_feeder(p); // its pipe has no reader any more
	fd_close(&p->in);
	fd_close(&p->out);
	g_clear_error(&p->source_error);
	lock_destroy(&p->lock);
	g_free(p);
}
