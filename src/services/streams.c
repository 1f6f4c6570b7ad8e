// SPDX-License-Identifier: Apache-2.0
/*
 * A stream is a deferred call of the Streaming service. Its messages come to the loop's thread, which queues
 * them here; it stops reading the client where too much is queued. The call is finished on the loop's thread
 * too, so that no message can be on its way to a stream that is gone.
 */
#include "services/streams.h"
#include "base/error.h"
#include "base/log.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "loop/lock.h"
#include "message.h"
#include "services/services.h"
#include "services/streaming/v1/streaming.pb-c.h"
#include "types/transfer/streaming.pb-c.h"
#include <stdatomic.h>
#include <string.h>

enum {
	QUEUE_MAX = 1024 * 1024, // bytes of messages before the client has to wait
	OFFER_MAX = 1024 * 1024, // bytes that wait for a client before offers are lost
	NAME_MAX_LEN = 1024,
	DATA_MAX = 32 * 1024, // bytes in one Data message, as upstream
	WINDOW = 1024 * 1024, // what a reader lets the client send ahead
};

struct Streams {
	Loop *loop;
	Lock lock;
	GHashTable *by_name; // "namespace/name" -> Stream*, borrowed: streams leave when they end
};

typedef struct Item Item;
struct Item {
	Item *next;
	Any any;
	size_t size;
};

struct Stream {
	atomic_int refs;
	Streams *manager;
	Lock lock;
	Cond changed;
	RpcCall *call; // NULL: ended
	unsigned cancel_id;
	bool named; // loop's thread: the first message has come
	char *key;  // registered under; NULL: not (any more)
	Item *first, **last;
	size_t queued;
	bool paused, client_done, closing;
	unsigned sending; // threads inside rpc_call_send; the call is not finished before they are out
};

Streams *streams_new(Loop *loop)
{
	Streams *s = g_new0(Streams, 1);
	s->loop = loop;
	lock_init(&s->lock, "streams", LOCK_RANK_SERVICE);
	s->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	return s;
}

void streams_free(Streams *s)
{
	if (s == NULL)
		return;
	g_hash_table_unref(s->by_name);
	lock_destroy(&s->lock);
	g_free(s);
}

Stream *stream_ref(Stream *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void stream_unref(Stream *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (Item *i = s->first; i != NULL;) {
		Item *next = i->next;
		any_clear(&i->any);
		g_free(i);
		i = next;
	}
	lock_destroy(&s->lock);
	cond_destroy(&s->changed);
	g_free(s->key);
	g_free(s);
}

/* ---- Names ---- */

static char *make_key(const char *ns, const char *name)
{
	return g_strconcat(ns, "/", name, NULL); // namespaces have no slash
}

static bool register_stream(Stream *s, const char *ns, const char *name)
{
	g_autofree char *key = make_key(ns, name);
	LOCK_SCOPE(&s->manager->lock);
	if (g_hash_table_contains(s->manager->by_name, key))
		return false;
	s->key = g_steal_pointer(&key);
	g_hash_table_insert(s->manager->by_name, s->key, s);
	return true;
}

static void unregister_stream(Stream *s)
{
	LOCK_SCOPE(&s->manager->lock);
	if (s->key != NULL)
		g_hash_table_remove(s->manager->by_name, s->key);
	g_clear_pointer(&s->key, g_free);
}

Stream *streams_get(Streams *m, const char *ns, const char *name, GError **error)
{
	g_autofree char *key = make_key(ns, name);
	LOCK_SCOPE(&m->lock);
	Stream *s = g_hash_table_lookup(m->by_name, key);
	if (s == NULL) {
		error_set(error, CTRD_ERR_NOT_FOUND, "not found");
		return NULL;
	}
	return stream_ref(s);
}

/* ---- The end ---- */

/* Loop's thread; takes the reference that came with it. */
static void finish_posted(void *data)
{
	Stream *s = data;
	RpcCall *call;
	{
		LOCK_SCOPE(&s->lock);
		call = s->sending == 0 ? g_steal_pointer(&s->call) : NULL;
		if (call != NULL)
			s->client_done = true;
		cond_broadcast(&s->changed);
	}
	if (call != NULL) {
		cancel_off(rpc_call_cancel(call), s->cancel_id);
		rpc_call_finish(call);
		stream_unref(s); // the call's
	}
	stream_unref(s);
}

void stream_close(Stream *s)
{
	unregister_stream(s);
	{
		LOCK_SCOPE(&s->lock);
		s->closing = true;
		if (s->call == NULL || s->sending > 0)
			return;
	}
	stream_ref(s);
	if (!loop_run_on(s->manager->loop, finish_posted, s))
		stream_unref(s); // the loop has ended, and all calls with it
}

/* ---- Messages ---- */

static bool begin_send(Stream *s, RpcCall **ret, GError **error)
{
	LOCK_SCOPE(&s->lock);
	if (s->call == NULL || s->closing)
		return error_set(error, CTRD_ERR_CANCELED, "context canceled");
	s->sending++;
	*ret = s->call;
	return true;
}

static void end_send(Stream *s)
{
	bool close;
	{
		LOCK_SCOPE(&s->lock);
		close = --s->sending == 0 && s->closing;
	}
	if (close)
		stream_close(s);
}

static Google__Protobuf__Any *wrap(const void *message)
{
	return api_any_pack(message, NULL);
}

bool stream_send(Stream *s, const void *message, GError **error)
{
	RpcCall *call = NULL;
	if (!begin_send(s, &call, error))
		return false;
	autopb Google__Protobuf__Any *any = wrap(message);
	bool ok = rpc_call_send(call, any, error);
	end_send(s);
	return ok;
}

void stream_offer(Stream *s, const void *message)
{
	RpcCall *call = NULL;
	if (!begin_send(s, &call, NULL))
		return;
	autopb Google__Protobuf__Any *any = wrap(message);
	if (!rpc_call_try_send(call, any, OFFER_MAX))
		log_debug("message of a stream lost", NULL);
	end_send(s);
}

static void wake(void *data)
{
	Stream *s = data;
	LOCK_SCOPE(&s->lock);
	cond_broadcast(&s->changed);
}

bool stream_recv(Stream *s, Cancel *cancel, Any *ret, GError **error)
{
	*ret = (Any){0};
	unsigned id = cancel != NULL ? cancel_on(cancel, wake, s) : 0;
	Item *item = NULL;
	RpcCall *resume = NULL;
	bool ended;
	{
		LOCK_SCOPE(&s->lock);
		while (s->first == NULL && !s->client_done && !cancel_is_set(cancel))
			cond_wait_until(&s->changed, &s->lock, cancel_deadline(cancel));
		item = s->first;
		ended = s->client_done;
		if (item != NULL) {
			s->first = item->next;
			if (s->first == NULL)
				s->last = &s->first;
			s->queued -= item->size;
			if (s->paused && s->queued < QUEUE_MAX / 2 && s->call != NULL && !s->closing) {
				s->paused = false;
				s->sending++; // the call stays for the moment
				resume = s->call;
			}
		}
	}
	if (id != 0)
		cancel_off(cancel, id);
	if (resume != NULL) {
		rpc_call_read_pause(resume, false);
		end_send(s);
	}
	if (item != NULL) {
		*ret = item->any;
		g_free(item);
		return true;
	}
	return ended || cancel_check(cancel, error);
}

/* ---- The service ---- */

static void stream_fail(Stream *s, GError *error)
{
	RpcCall *call;
	{
		LOCK_SCOPE(&s->lock);
		call = g_steal_pointer(&s->call);
		s->client_done = true;
	}
	cancel_off(rpc_call_cancel(call), s->cancel_id);
	rpc_call_fail(call, error);
	stream_unref(s);
}

/* The first message names the stream; the answer says that it can be found from now on. */
static void stream_init(Stream *s, RpcCall *call, const Google__Protobuf__Any *first)
{
	GError *error = NULL;
	autopb Containerd__Services__Streaming__V1__StreamInit *init = api_any_unpack(
	        first, &containerd__services__streaming__v1__stream_init__descriptor, NULL, &error);
	if (init != NULL && strlen(init->id) > NAME_MAX_LEN)
		error_set(&error, CTRD_ERR_INVALID_ARGUMENT, "stream id of more than %d bytes", NAME_MAX_LEN);
	else if (init != NULL && !register_stream(s, str_or(rpc_call_namespace(call), ""), init->id))
		error_set(&error, CTRD_ERR_ALREADY_EXISTS, "already exists");
	if (error != NULL) {
		stream_fail(s, error);
		return;
	}
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	autopb Google__Protobuf__Any *any = wrap(&empty);
	rpc_call_try_send(call, any, OFFER_MAX);
}

static void on_message(RpcCall *call, const ProtobufCMessage *message, void *data)
{
	Stream *s = data;
	const Google__Protobuf__Any *any = (const Google__Protobuf__Any *)message;
	if (any == NULL) {
		/* Its side is closed; it may still read. */
		{
			LOCK_SCOPE(&s->lock);
			s->client_done = true;
			cond_broadcast(&s->changed);
		}
		if (!s->named)
			stream_close(s);
		return;
	}
	if (!s->named) {
		s->named = true;
		stream_init(s, call, any);
		return;
	}
	Item *item = g_new0(Item, 1);
	item->any.type_url = g_strdup(any->type_url);
	item->any.value = g_bytes_new(any->value.data, any->value.len);
	item->size = any->value.len + sizeof(*item);
	bool pause;
	{
		LOCK_SCOPE(&s->lock);
		*s->last = item;
		s->last = &item->next;
		s->queued += item->size;
		pause = s->paused = s->queued > QUEUE_MAX;
		cond_broadcast(&s->changed);
	}
	if (pause)
		rpc_call_read_pause(call, true);
}

/* The client has gone. */
static void on_gone(void *data)
{
	stream_close(data);
}

static bool streaming_stream(RpcCall *call, const void *request, void *response, GError **error)
{
	Stream *s = g_new0(Stream, 1);
	atomic_init(&s->refs, 1); // the call's
	s->manager = rpc_call_impl(call);
	lock_init(&s->lock, "stream", LOCK_RANK_SERVICE + 1);
	cond_init(&s->changed);
	s->last = &s->first;
	s->call = call;
	rpc_call_defer(call);
	rpc_call_on_message(call, on_message, s);
	stream_ref(s);
	unsigned id = cancel_on(rpc_call_cancel(call), on_gone, s); // at once, where it has gone already
	s->cancel_id = id;
	stream_unref(s);
	return true;
}

RpcService streaming_service_new(Streams *streams)
{
	static const RpcMethod methods[] = {
	        {"Stream", RPC_BIDI_STREAM, RPC_ON_LOOP, streaming_stream},
	};
	return (RpcService){
	        .descriptor = &containerd__services__streaming__v1__streaming__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = streams,
	};
}

/* ---- Bytes ---- */

/* A message out of what stream_recv gave; free with autopb. */
static void *unwrap(const Any *any, const ProtobufCMessageDescriptor *type, GError **error)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(any->value, &len);
	return api_unpack(type, NULL, data, len, error);
}

static bool is_type(const Any *any, const ProtobufCMessageDescriptor *type)
{
	return g_str_equal(api_type_name(any->type_url), type->name);
}

struct StreamReader {
	Stream *stream;
	Cancel *cancel;
	int64_t window; // what the client may still send
	Containerd__Types__Transfer__Data *data;
	size_t used;
	bool ended;
};

StreamReader *stream_reader_new(Stream *s, Cancel *cancel)
{
	StreamReader *r = g_new0(StreamReader, 1);
	r->stream = stream_ref(s);
	r->cancel = cancel_ref(cancel);
	return r;
}

void stream_reader_free(StreamReader *r)
{
	if (r == NULL)
		return;
	stream_close(r->stream);
	stream_unref(r->stream);
	cancel_unref(r->cancel);
	if (r->data != NULL)
		protobuf_c_message_free_unpacked(&r->data->base, NULL);
	g_free(r);
}

static bool reader_next(StreamReader *r, GError **error)
{
	if (r->window < WINDOW / 2) {
		Containerd__Types__Transfer__WindowUpdate update =
		        CONTAINERD__TYPES__TRANSFER__WINDOW_UPDATE__INIT;
		update.update = WINDOW;
		/* where this fails the client may have sent all and gone: what is queued is read */
		if (stream_send(r->stream, &update, NULL))
			r->window += WINDOW;
	}
	g_auto(Any) any = {0};
	if (!stream_recv(r->stream, r->cancel, &any, error))
		return false;
	if (!any_is_set(&any)) {
		r->ended = true;
		return true;
	}
	if (!is_type(&any, &containerd__types__transfer__data__descriptor)) {
		log_debug("unknown message on a byte stream ignored", "type", any.type_url, NULL);
		return true;
	}
	r->data = unwrap(&any, &containerd__types__transfer__data__descriptor, error);
	if (r->data == NULL)
		return error_prefix(error, "failed to unmarshal received object");
	r->window -= (int64_t)r->data->data.len;
	r->used = 0;
	return true;
}

ssize_t stream_reader_read(void *reader, void *buf, size_t len, GError **error)
{
	StreamReader *r = reader;
	while (!r->ended && r->data == NULL)
		if (!reader_next(r, error))
			return -1;
	if (r->data == NULL)
		return 0;
	size_t n = MIN(len, r->data->data.len - r->used);
	memcpy(buf, r->data->data.data + r->used, n);
	r->used += n;
	if (r->used == r->data->data.len) {
		protobuf_c_message_free_unpacked(&r->data->base, NULL);
		r->data = NULL;
		if (n == 0) // an empty message is not the end
			return stream_reader_read(reader, buf, len, error);
	}
	return (ssize_t)n;
}

struct StreamWriter {
	Stream *stream;
	Cancel *cancel;
	int64_t window;
};

StreamWriter *stream_writer_new(Stream *s, Cancel *cancel)
{
	StreamWriter *w = g_new0(StreamWriter, 1);
	w->stream = stream_ref(s);
	w->cancel = cancel_ref(cancel);
	return w;
}

void stream_writer_free(StreamWriter *w)
{
	if (w == NULL)
		return;
	stream_close(w->stream);
	stream_unref(w->stream);
	cancel_unref(w->cancel);
	g_free(w);
}

static bool writer_wait(StreamWriter *w, GError **error)
{
	g_auto(Any) any = {0};
	if (!stream_recv(w->stream, w->cancel, &any, error))
		return false;
	if (!any_is_set(&any))
		return error_set(error, CTRD_ERR_CANCELED,
		                 "the receiver of the stream has gone: context canceled");
	if (!is_type(&any, &containerd__types__transfer__window_update__descriptor))
		return true;
	autopb Containerd__Types__Transfer__WindowUpdate *update =
	        unwrap(&any, &containerd__types__transfer__window_update__descriptor, error);
	if (update == NULL)
		return error_prefix(error, "failed to unmarshal received object");
	w->window = MIN(w->window + MAX(update->update, 0), INT32_MAX);
	return true;
}

bool stream_writer_write(void *writer, const void *buf, size_t len, GError **error)
{
	StreamWriter *w = writer;
	const uint8_t *p = buf;
	while (len > 0) {
		while (w->window <= 0)
			if (!writer_wait(w, error))
				return false;
		size_t n = MIN(MIN(len, DATA_MAX), (size_t)w->window);
		Containerd__Types__Transfer__Data data = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
		data.data = (ProtobufCBinaryData){n, (uint8_t *)p};
		if (!stream_send(w->stream, &data, error))
			return false;
		w->window -= (int64_t)n;
		p += n;
		len -= n;
	}
	return true;
}
