// SPDX-License-Identifier: Apache-2.0
#include "ctr/stream.h"
#include "base/fs.h"
#include "base/time.h"
#include "loop/lock.h"
#include "message.h"
#include "services/streaming/v1/streaming.pb-c.h"
#include "types/transfer/registry.pb-c.h"
#include "types/transfer/streaming.pb-c.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

enum {
	CHUNK = 32 * 1024,   // bytes in one Data message
	WINDOW = 64 * CHUNK, // what the daemon may send ahead
};
/* How long a stream that should be at its end may take to say so. */
#define END_TIMEOUT (2 * NS_PER_SEC)

struct SideStream {
	char *name;
	RpcStream *stream;
	Cancel *cancel;
	pthread_t thread;
	GError *failed; // the thread's, until it is joined

	ProgressFn progress;
	void *progress_data;
	int fd;
	const char *username, *secret;
	bool refresh_token;

	Lock lock;
	Cond cond;
	bool done;
};

static bool send_message(SideStream *s, const void *message, GError **error)
{
	autopb Google__Protobuf__Any *any = api_any_pack(message, NULL);
	return rpc_stream_send(s->stream, any, error);
}

/* ---- what the threads do ---- */

static bool serve_progress(SideStream *s, GError **error)
{
	for (;;) {
		autopb Google__Protobuf__Any *any = NULL;
		if (!rpc_stream_recv(s->stream, &any, error))
			return false;
		if (any == NULL)
			return true;
		autopb Containerd__Types__Transfer__Progress *p =
		        api_any_unpack(any, &containerd__types__transfer__progress__descriptor, NULL, NULL);
		if (p != NULL)
			s->progress(p, s->progress_data);
	}
}

/* Waits for a window; false at the end of the stream. */
static bool next_window(SideStream *s, int64_t *window, GError **error)
{
	while (*window <= 0) {
		autopb Google__Protobuf__Any *any = NULL;
		if (!rpc_stream_recv(s->stream, &any, error))
			return false;
		if (any == NULL)
			return false;
		autopb Containerd__Types__Transfer__WindowUpdate *w = api_any_unpack(
		        any, &containerd__types__transfer__window_update__descriptor, NULL, NULL);
		if (w != NULL)
			*window += w->update;
	}
	return true;
}

static bool serve_send(SideStream *s, GError **error)
{
	g_autofree uint8_t *buf = g_malloc(CHUNK);
	int64_t window = 0;
	while (next_window(s, &window, error)) {
		ssize_t n = RETRY_EINTR(read(s->fd, buf, (size_t)MIN(window, CHUNK)));
		if (n < 0) {
			error_set_errno(error, errno, "read the archive");
			break;
		}
		if (n == 0)
			break;
		Containerd__Types__Transfer__Data data = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
		data.data = (ProtobufCBinaryData){(size_t)n, buf};
		if (!send_message(s, &data, error))
			return false;
		window -= n;
	}
	rpc_stream_close_send(s->stream, NULL);
	return error == NULL || *error == NULL;
}

static bool serve_receive(SideStream *s, GError **error)
{
	int64_t window = 0;
	for (;;) {
		if (window < WINDOW) {
			Containerd__Types__Transfer__WindowUpdate update =
			        CONTAINERD__TYPES__TRANSFER__WINDOW_UPDATE__INIT;
			update.update = WINDOW;
			/* an error here may be the end of the stream: recv tells */
			if (send_message(s, &update, NULL))
				window += WINDOW;
		}
		autopb Google__Protobuf__Any *any = NULL;
		if (!rpc_stream_recv(s->stream, &any, error))
			return false;
		if (any == NULL)
			return true;
		autopb Containerd__Types__Transfer__Data *data =
		        api_any_unpack(any, &containerd__types__transfer__data__descriptor, NULL, error);
		if (data == NULL || !fd_write_all(s->fd, data->data.data, data->data.len, error))
			return false;
		window -= (int64_t)data->data.len;
	}
}

static bool serve_auth(SideStream *s, GError **error)
{
	for (;;) {
		autopb Google__Protobuf__Any *any = NULL;
		if (!rpc_stream_recv(s->stream, &any, error))
			return false;
		if (any == NULL)
			return true;
		Containerd__Types__Transfer__AuthResponse resp =
		        CONTAINERD__TYPES__TRANSFER__AUTH_RESPONSE__INIT;
		if (s->refresh_token) {
			resp.authtype = CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__REFRESH;
			resp.secret = s->secret;
		} else if (!str_empty(s->username)) {
			resp.authtype = CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__CREDENTIALS;
			resp.username = s->username;
			resp.secret = s->secret;
		}
		if (!send_message(s, &resp, error))
			return false;
	}
}

typedef bool (*ServeFn)(SideStream *s, GError **error);

typedef struct {
	SideStream *s;
	ServeFn serve;
} Start;

static void *thread_main(void *arg)
{
	g_autofree Start *start = arg;
	SideStream *s = start->s;
	GError *failed = NULL;
	start->serve(s, &failed);
	LOCK_SCOPE(&s->lock);
	s->failed = failed;
	s->done = true;
	cond_broadcast(&s->cond);
	return NULL;
}

/* ---- life ---- */

static void side_stream_free(SideStream *s)
{
	rpc_stream_free(s->stream);
	cancel_unref(s->cancel);
	g_clear_error(&s->failed);
	cond_destroy(&s->cond);
	lock_destroy(&s->lock);
	g_free(s->name);
	g_free(s);
}

/* Opens the stream and waits until the daemon knows its name. */
static bool open_stream(Cli *cli, SideStream *s, GError **error)
{
	RpcClient *client = ctr_client(cli, error);
	RpcCallOptions options = ctr_call_options(cli);
	options.cancel = s->cancel;
	if (client == NULL)
		return false;
	s->stream = rpc_client_stream(client, &containerd__services__streaming__v1__streaming__descriptor,
	                              "Stream", RPC_BIDI_STREAM, &options, NULL, error);
	Containerd__Services__Streaming__V1__StreamInit init =
	        CONTAINERD__SERVICES__STREAMING__V1__STREAM_INIT__INIT;
	autopb Google__Protobuf__Any *ack = NULL;
	init.id = s->name;
	return s->stream != NULL && send_message(s, &init, error) && rpc_stream_recv(s->stream, &ack, error);
}

static SideStream *new_stream(Cli *cli, const char *kind)
{
	SideStream *s = g_new0(SideStream, 1);
	g_autofree char *uuid = g_uuid_string_random();
	s->name = g_strdup_printf("%s-%s", kind, uuid);
	s->cancel = cancel_new(ctr_cancel(cli));
	lock_init(&s->lock, "side-stream", LOCK_RANK_LEAF);
	cond_init(&s->cond);
	return s;
}

static SideStream *start(Cli *cli, SideStream *s, ServeFn serve, GError **error)
{
	if (!open_stream(cli, s, error)) {
		side_stream_free(s);
		return NULL;
	}
	Start *arg = g_new(Start, 1);
	*arg = (Start){s, serve};
	int r = pthread_create(&s->thread, NULL, thread_main, arg);
	if (r != 0) {
		g_free(arg);
		side_stream_free(s);
		error_set_errno(error, r, "start a thread");
		return NULL;
	}
	return s;
}

SideStream *side_stream_progress(Cli *cli, ProgressFn fn, void *data, GError **error)
{
	SideStream *s = new_stream(cli, "progress");
	s->progress = fn;
	s->progress_data = data;
	return start(cli, s, serve_progress, error);
}

SideStream *side_stream_send(Cli *cli, int fd, GError **error)
{
	SideStream *s = new_stream(cli, "import");
	s->fd = fd;
	return start(cli, s, serve_send, error);
}

SideStream *side_stream_receive(Cli *cli, int fd, GError **error)
{
	SideStream *s = new_stream(cli, "export");
	s->fd = fd;
	return start(cli, s, serve_receive, error);
}

SideStream *side_stream_auth(Cli *cli, const char *username, const char *secret, bool refresh_token,
                             GError **error)
{
	SideStream *s = new_stream(cli, "auth");
	s->username = username;
	s->secret = secret;
	s->refresh_token = refresh_token;
	return start(cli, s, serve_auth, error);
}

const char *side_stream_name(SideStream *s)
{
	return s->name;
}

bool side_stream_end(SideStream *s, bool wait, GError **error)
{
	if (s == NULL)
		return true;
	bool ended;
	{
		LOCK_SCOPE(&s->lock);
		int64_t deadline = time_mono() + END_TIMEOUT;
		while (wait && !s->done && cond_wait_until(&s->cond, &s->lock, deadline))
			;
		ended = s->done;
	}
	if (!ended)
		cancel_trigger(s->cancel, false);
	pthread_join(s->thread, NULL);
	bool ok = !ended || s->failed == NULL;
	if (!ok)
		g_propagate_error(error, g_steal_pointer(&s->failed));
	side_stream_free(s);
	return ok;
}
