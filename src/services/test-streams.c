// SPDX-License-Identifier: Apache-2.0
/* Named streams, with our own client on the other end. */
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "message.h"
#include "rpc/client.h"
#include "services/services.h"
#include "services/streaming/v1/streaming.pb-c.h"
#include "services/streams.h"
#include "types/transfer/streaming.pb-c.h"
#include <string.h>

typedef struct {
	Loop *loop, *client_loop;
	Pool *pool;
	RpcServer *server;
	RpcClient *client;
	Streams *streams;
	char *dir, *path;
	Lock lock;
	Cond cond;
	bool stopped;
} Fixture;

static RpcClient *connect_client(Fixture *f)
{
	return rpc_client_new(f->client_loop, RPC_PROTO_GRPC, f->path);
}

static void setup(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	f->dir = g_dir_make_tmp("streams-test-XXXXXX", NULL);
	f->path = path_join(f->dir, "s.sock");
	f->loop = loop_start("server");
	f->client_loop = loop_start("client");
	f->pool = pool_new("worker", 16, 64, NS_PER_SEC);
	f->streams = streams_new(f->loop);
	f->server = rpc_server_new(f->loop, f->pool, NULL);
	RpcService service = streaming_service_new(f->streams);
	rpc_server_add(f->server, &service);
	int fd = rpc_listen_unix(f->path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen(f->server, RPC_PROTO_GRPC, fd, false, &error));
	f->client = connect_client(f);
	lock_init(&f->lock, "fixture", LOCK_RANK_DAEMON);
	cond_init(&f->cond);
}

static void on_stopped(void *data)
{
	Fixture *f = data;
	LOCK_SCOPE(&f->lock);
	f->stopped = true;
	cond_signal(&f->cond);
}

static void stop_on_loop(void *data)
{
	Fixture *f = data;
	rpc_server_stop(f->server, on_stopped, f);
}

static void free_on_loop(void *data)
{
	rpc_server_free(data);
}

static void teardown(Fixture *f, const void *data)
{
	if (f->client != NULL)
		rpc_client_unref(f->client);
	loop_post(f->loop, stop_on_loop, f);
	{
		LOCK_SCOPE(&f->lock);
		while (!f->stopped)
			cond_wait(&f->cond, &f->lock);
	}
	loop_post(f->loop, free_on_loop, f->server);
	pool_free(f->pool);
	loop_stop_join(f->loop);
	loop_stop_join(f->client_loop);
	streams_free(f->streams);
	lock_destroy(&f->lock);
	cond_destroy(&f->cond);
	g_assert_true(tree_remove(f->dir, NULL));
	g_free(f->dir);
	g_free(f->path);
}

/* ---- The client's side ---- */

static RpcStream *open_raw(RpcClient *client)
{
	static const RpcCallOptions options = {.ns = "testing"};
	g_autoptr(GError) error = NULL;
	RpcStream *s = rpc_client_stream(client, &containerd__services__streaming__v1__streaming__descriptor,
	                                 "Stream", RPC_BIDI_STREAM, &options, NULL, &error);
	g_assert_no_error(error);
	return s;
}

static bool send_message(RpcStream *s, const void *message, GError **error)
{
	autopb Google__Protobuf__Any *any = api_any_pack(message, NULL);
	return rpc_stream_send(s, any, error);
}

/* The first message; what comes back. */
static bool init_stream(RpcStream *s, const char *name, GError **error)
{
	Containerd__Services__Streaming__V1__StreamInit init =
	        CONTAINERD__SERVICES__STREAMING__V1__STREAM_INIT__INIT;
	init.id = name;
	autopb Google__Protobuf__Any *answer = NULL;
	g_assert_true(send_message(s, &init, error));
	if (!rpc_stream_recv(s, &answer, error))
		return false;
	g_assert_nonnull(answer);
	g_assert_true(api_any_is(answer, &google__protobuf__empty__descriptor));
	return true;
}

static RpcStream *open_stream(Fixture *f, const char *name)
{
	g_autoptr(GError) error = NULL;
	RpcStream *s = open_raw(f->client);
	g_assert_true(init_stream(s, name, &error));
	return s;
}

static Stream *get(Fixture *f, const char *name)
{
	g_autoptr(GError) error = NULL;
	Stream *s = streams_get(f->streams, "testing", name, &error);
	g_assert_no_error(error);
	return s;
}

static void await_gone(Fixture *f, const char *name)
{
	for (int i = 0; i < 500; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Stream) s = streams_get(f->streams, "testing", name, &error);
		if (s == NULL) {
			g_assert_cmpstr(error->message, ==, "not found");
			g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
			return;
		}
		g_usleep(10000);
	}
	g_assert_not_reached();
}

/* ---- Names ---- */

static void test_names(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) a = open_stream(f, "one");
	g_autoptr(Stream) s = get(f, "one");
	g_assert_null(streams_get(f->streams, "other", "one", NULL));
	g_autoptr(RpcStream) b = open_raw(f->client);
	g_autoptr(GError) error = NULL;
	g_assert_false(init_stream(b, "one", &error));
	g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
	g_assert_cmpstr(error->message, ==, "already exists");
	g_clear_error(&error);
	/* closed by us: the client sees the end, the name is free */
	stream_close(s);
	autopb Google__Protobuf__Any *end = NULL;
	g_assert_true(rpc_stream_recv(a, &end, &error));
	g_assert_null(end);
	await_gone(f, "one");
	g_autoptr(RpcStream) again = open_stream(f, "one");
	Containerd__Types__Transfer__Data message = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
	g_assert_false(stream_send(s, &message, &error));
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
}

static void test_bad_init(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) s = open_raw(f->client);
	g_autoptr(GError) error = NULL;
	Containerd__Types__Transfer__Data message = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
	autopb Google__Protobuf__Any *answer = NULL;
	g_assert_true(send_message(s, &message, &error));
	g_assert_false(rpc_stream_recv(s, &answer, &error));
	g_assert_cmpstr(error->message, ==,
	                "can't unmarshal type \"containerd.types.transfer.Data\" to output "
	                "\"containerd.services.streaming.v1.StreamInit\"");
	g_clear_error(&error);
	/* none at all */
	g_autoptr(RpcStream) t = open_raw(f->client);
	g_assert_true(rpc_stream_close_send(t, &error));
	g_assert_true(rpc_stream_recv(t, &answer, &error));
	g_assert_null(answer);
}

/* ---- Bytes ---- */

enum {
	BYTES = 5 * 1000 * 1000,
};

static void *send_bytes(void *data)
{
	RpcStream *s = data;
	g_autoptr(GError) error = NULL;
	int64_t window = 0, sent = 0;
	g_autofree uint8_t *block = g_malloc(32 * 1024);
	while (sent < BYTES) {
		while (window <= 0) {
			autopb Google__Protobuf__Any *any = NULL;
			g_assert_true(rpc_stream_recv(s, &any, &error));
			autopb Containerd__Types__Transfer__WindowUpdate *update = api_any_unpack(
			        any, &containerd__types__transfer__window_update__descriptor, NULL, &error);
			g_assert_no_error(error);
			window += update->update;
		}
		size_t n = (size_t)MIN(MIN(32 * 1024, window), BYTES - sent);
		for (size_t i = 0; i < n; i++)
			block[i] = (uint8_t)((sent + (int64_t)i) % 251);
		Containerd__Types__Transfer__Data message = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
		message.data = (ProtobufCBinaryData){n, block};
		g_assert_true(send_message(s, &message, &error));
		sent += (int64_t)n;
		window -= (int64_t)n;
	}
	g_assert_true(rpc_stream_close_send(s, &error));
	return NULL;
}

static void test_read(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) client = open_stream(f, "import");
	g_autoptr(Stream) s = get(f, "import");
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "sender", 0, send_bytes, client), ==, 0);
	g_autoptr(StreamReader) r = stream_reader_new(s, NULL);
	g_autoptr(GError) error = NULL;
	uint8_t buf[10000];
	int64_t got = 0;
	ssize_t n;
	while ((n = stream_reader_read(r, buf, sizeof(buf), &error)) > 0)
		for (ssize_t i = 0; i < n; i++, got++)
			g_assert_cmpint(buf[i], ==, got % 251);
	g_assert_no_error(error);
	g_assert_cmpint(got, ==, BYTES);
	pthread_join(t, NULL);
}

static void *receive_bytes(void *data)
{
	RpcStream *s = data;
	g_autoptr(GError) error = NULL;
	int64_t got = 0, window = 0;
	for (;;) {
		if (window < 65536) {
			Containerd__Types__Transfer__WindowUpdate update =
			        CONTAINERD__TYPES__TRANSFER__WINDOW_UPDATE__INIT;
			update.update = 65536;
			send_message(s, &update, NULL);
			window += 65536;
		}
		autopb Google__Protobuf__Any *any = NULL;
		g_assert_true(rpc_stream_recv(s, &any, &error));
		if (any == NULL)
			break;
		autopb Containerd__Types__Transfer__Data *message =
		        api_any_unpack(any, &containerd__types__transfer__data__descriptor, NULL, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(message->data.len, <=, 32 * 1024);
		got += (int64_t)message->data.len;
		window -= (int64_t)message->data.len;
		g_assert_cmpint(window, >=, 0); // never more than was allowed
	}
	g_assert_cmpint(got, ==, BYTES);
	return NULL;
}

static void test_write(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) client = open_stream(f, "export");
	g_autoptr(Stream) s = get(f, "export");
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "receiver", 0, receive_bytes, client), ==, 0);
	StreamWriter *w = stream_writer_new(s, NULL);
	g_autofree char *bytes = g_strnfill(BYTES, 'x');
	g_autoptr(GError) error = NULL;
	g_assert_true(stream_writer_write(w, bytes, BYTES, &error));
	stream_writer_free(w);
	pthread_join(t, NULL);
}

/* ---- Those who go away, and those who never read ---- */

static void *drop_client(void *data)
{
	g_usleep(100000);
	rpc_client_close(data);
	return NULL;
}

static void test_client_gone(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) client = open_stream(f, "x");
	g_autoptr(Stream) s = get(f, "x");
	g_autoptr(StreamReader) r = stream_reader_new(s, NULL);
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "drop", 0, drop_client, f->client), ==, 0);
	g_autoptr(GError) error = NULL;
	char buf[10];
	g_assert_cmpint(stream_reader_read(r, buf, sizeof(buf), &error), ==, 0);
	pthread_join(t, NULL);
	await_gone(f, "x");
}

static void *cancel_later(void *data)
{
	g_usleep(100000);
	cancel_trigger(data, false);
	return NULL;
}

static void test_cancel(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) client = open_stream(f, "x");
	g_autoptr(Stream) s = get(f, "x");
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	g_autoptr(StreamWriter) w = stream_writer_new(s, cancel);
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "cancel", 0, cancel_later, cancel), ==, 0);
	g_autoptr(GError) error = NULL;
	g_assert_false(stream_writer_write(w, "x", 1, &error)); // nobody gives a window
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	pthread_join(t, NULL);
}

/* Offers to one who does not read cost neither time nor memory without end. */
static void test_offers(Fixture *f, const void *data)
{
	g_autoptr(RpcStream) client = open_stream(f, "x");
	g_autoptr(Stream) s = get(f, "x");
	g_autofree char *block = g_strnfill(10000, 'x');
	Containerd__Types__Transfer__Data message = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
	message.data = (ProtobufCBinaryData){10000, (uint8_t *)block};
	int64_t start = time_mono();
	for (int i = 0; i < 20000; i++)
		stream_offer(s, &message);
	g_assert_cmpint(time_mono() - start, <, 20 * NS_PER_SEC);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	static const struct {
		const char *name;
		void (*fn)(Fixture *f, const void *data);
	} tests[] = {
	        {"/streams/names", test_names},      {"/streams/bad-init", test_bad_init},
	        {"/streams/read", test_read},        {"/streams/write", test_write},
	        {"/streams/gone", test_client_gone}, {"/streams/cancel", test_cancel},
	        {"/streams/offers", test_offers},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].name, Fixture, NULL, setup, tests[i].fn, teardown);
	return g_test_run();
}
