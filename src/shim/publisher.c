// SPDX-License-Identifier: Apache-2.0

#include "shim/publisher.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "rpc/client.h"
#include "services/ttrpc/events/v1/events.pb-c.h"
#include "shim/spawn.h"
#include <fcntl.h>
#include <sys/mman.h>

#define MAX_TRIES 6
#define CALL_TIMEOUT (5 * NS_PER_SEC)
/* Pauses between looking for a daemon that is away. */
#define AWAY_WAIT_MIN NS_PER_SEC
#define AWAY_WAIT_MAX (60 * NS_PER_SEC)

typedef struct {
	const char *topic;
	const char *type; // the descriptor's name, static
	TimeNs at;
	size_t len;
	uint8_t data[];
} Event;

struct Publisher {
	Loop *loop;
	Reaper *reaper;
	char *ns, *address, *binary, *grpc_address;
	RpcClient *client;
	GQueue queue; // of Event; the head is being sent, or waits for its next try
	bool sending;
	unsigned tries;    // of the head
	int64_t away_wait; // 0: the daemon is there, for all we know
	LoopTimer *retry, *flush_timer;
	LoopFn flush_done;
	void *flush_data;
};

static void publisher_send(Publisher *p);

Publisher *publisher_new(Loop *loop, Reaper *reaper, const char *ns, const char *address, const char *binary,
                         const char *grpc_address)
{
	Publisher *p = g_new0(Publisher, 1);
	*p = (Publisher){.loop = loop,
	                 .reaper = reaper,
	                 .ns = g_strdup(ns),
	                 .address = str_empty(address) ? NULL : g_strdup(address),
	                 .binary = str_empty(binary) ? NULL : g_strdup(binary),
	                 .grpc_address = g_strdup(str_or(grpc_address, ""))};
	g_queue_init(&p->queue);
	return p;
}

static void flush_finish(Publisher *p)
{
	LoopFn done = p->flush_done;
	if (done == NULL)
		return;
	p->flush_done = NULL;
	loop_timer_free(g_steal_pointer(&p->flush_timer));
	done(p->flush_data);
}

static void on_retry(void *data)
{
	Publisher *p = data;
	loop_timer_free(g_steal_pointer(&p->retry));
	publisher_send(p);
}

static void head_done(Publisher *p)
{
	g_free(g_queue_pop_head(&p->queue));
	p->tries = 0;
	if (g_queue_is_empty(&p->queue))
		flush_finish(p);
	else
		publisher_send(p);
}

static void head_failed(Publisher *p, const char *text)
{
	const Event *e = g_queue_peek_head(&p->queue);
	log_warn("forward event", "error", text, "topic", e->topic, NULL);
	if (p->tries >= MAX_TRIES) {
		log_warn("evicting event from queue because of retry count", "topic", e->topic, NULL);
		head_done(p);
		return;
	}
	p->retry = loop_timer_new(p->loop, on_retry, p);
	loop_timer_start(p->retry, p->tries * NS_PER_SEC, 0);
}

/* Nobody takes events: that says nothing about the event, which waits (until PUBLISHER_MAX wait). The daemon
 * that comes back calls us, and so does publisher_kick. */
static void daemon_away(Publisher *p, const char *text)
{
	const Event *e = g_queue_peek_head(&p->queue);
	if (p->away_wait == 0)
		log_warn("the daemon takes no events, they wait", "error", text, "topic", e->topic, NULL);
	p->tries = 0;
	p->away_wait = CLAMP(p->away_wait * 2, AWAY_WAIT_MIN, AWAY_WAIT_MAX);
	p->retry = loop_timer_new(p->loop, on_retry, p);
	loop_timer_start(p->retry, p->away_wait, 0);
}

static void client_drop(Publisher *p)
{
	g_clear_pointer(&p->client, rpc_client_unref);
}

static void on_forwarded(const void *response, const GError *error, void *data)
{
	Publisher *p = data;
	p->sending = false;
	if (error == NULL) {
		p->away_wait = 0;
		head_done(p);
		return;
	}
	client_drop(p); // the daemon was restarted, or its socket moved: the next try connects again
	// A connection that broke since the last event says nothing about the daemon of now.
	if (p->tries == 1) {
		publisher_send(p);
		return;
	}
	if (error_is(error, CTRD_ERR_UNAVAILABLE))
		daemon_away(p, error->message);
	else
		head_failed(p, error->message);
}

static Google__Protobuf__Any event_any(const Event *e)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)e->type;
	any.value.data = (uint8_t *)e->data;
	any.value.len = e->len;
	return any;
}

static void forward(Publisher *p, const Event *e)
{
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	at.seconds = e->at / NS_PER_SEC;
	at.nanos = (int32_t)(e->at % NS_PER_SEC);
	Google__Protobuf__Any any = event_any(e);
	Containerd__Types__Envelope envelope = CONTAINERD__TYPES__ENVELOPE__INIT;
	envelope.timestamp = &at;
	envelope.namespace_ = p->ns;
	envelope.topic = e->topic;
	envelope.event = &any;
	Containerd__Services__Events__Ttrpc__V1__ForwardRequest request =
	        CONTAINERD__SERVICES__EVENTS__TTRPC__V1__FORWARD_REQUEST__INIT;
	request.envelope = &envelope;
	if (p->client == NULL)
		p->client = rpc_client_new(p->loop, RPC_PROTO_TTRPC, p->address);
	RpcCallOptions options = {.ns = p->ns, .timeout_ns = CALL_TIMEOUT};
	p->sending = true;
	rpc_client_call_async(p->client, &containerd__services__events__ttrpc__v1__events__descriptor,
	                      "Forward", &options, &request, on_forwarded, p);
}

static void on_published(int code, const char *output, size_t output_len, void *data)
{
	Publisher *p = data;
	p->sending = false;
	if (code == 0)
		head_done(p);
	else
		head_failed(p, output);
}

/* The event's Any on stdin: `containerd publish --topic /tasks/exit --namespace default`. */
static bool run_publish(Publisher *p, const Event *e, GError **error)
{
	Google__Protobuf__Any any = event_any(e);
	size_t len = protobuf_c_message_get_packed_size(&any.base);
	g_autofree uint8_t *packed = g_malloc(len);
	protobuf_c_message_pack(&any.base, packed);
	autofd in = memfd_create("event", MFD_CLOEXEC);
	if (in < 0)
		return error_set_errno(error, errno, "memfd");
	if (!fd_write_all(in, packed, len, error))
		return false;
	if (lseek(in, 0, SEEK_SET) < 0)
		return error_set_errno(error, errno, "lseek");
	const char *argv[] = {p->binary, "--address",   p->grpc_address, "publish", "--topic",
	                      e->topic,  "--namespace", p->ns,           NULL};
	Command *c = command_start(p->reaper, p->binary, argv, in, COMMAND_CAPTURE, COMMAND_CAPTURE,
	                           on_published, p, error);
	p->sending = c != NULL;
	return c != NULL;
}

static void publisher_send(Publisher *p)
{
	if (p->sending || p->retry != NULL || g_queue_is_empty(&p->queue))
		return;
	const Event *e = g_queue_peek_head(&p->queue);
	p->tries++;
	if (p->address != NULL) {
		forward(p, e);
		return;
	}
	g_autoptr(GError) error = NULL;
	if (!run_publish(p, e, &error))
		head_failed(p, error->message);
}

void publisher_publish(Publisher *p, const char *topic, const void *event)
{
	const ProtobufCMessage *message = event;
	if (p->address == NULL && p->binary == NULL)
		return;
	size_t len = protobuf_c_message_get_packed_size(message);
	Event *e = g_malloc(sizeof *e + len);
	*e = (Event){.topic = topic, .type = message->descriptor->name, .at = time_now(), .len = len};
	protobuf_c_message_pack(message, e->data);
	g_queue_push_tail(&p->queue, e);
	if (p->queue.length > PUBLISHER_MAX) {
		// not the head: it may be under way
		Event *oldest = g_queue_pop_nth(&p->queue, 1);
		log_warn("dropping event, too many wait", "topic", oldest->topic, NULL);
		g_free(oldest);
	}
	publisher_send(p);
}

void publisher_kick(Publisher *p)
{
	if (p->retry == NULL)
		return;
	loop_timer_free(g_steal_pointer(&p->retry));
	// A daemon that starts reads our state before it takes events: such tries must not use an event up.
	p->tries = 0;
	p->away_wait = 0;
	publisher_send(p);
}

static void on_flush_timeout(void *data)
{
	flush_finish(data);
}

void publisher_flush(Publisher *p, int64_t timeout_ns, LoopFn done, void *data)
{
	if (g_queue_is_empty(&p->queue)) {
		done(data);
		return;
	}
	p->flush_done = done;
	p->flush_data = data;
	p->flush_timer = loop_timer_new(p->loop, on_flush_timeout, p);
	loop_timer_start(p->flush_timer, timeout_ns, 0);
	publisher_kick(p);
}

unsigned publisher_n_waiting(const Publisher *p)
{
	return p->queue.length;
}

void publisher_free(Publisher *p)
{
	if (p == NULL)
		return;
	if (p->client != NULL)
		rpc_client_close(p->client);
	client_drop(p);
	loop_timer_free(p->retry);
	loop_timer_free(p->flush_timer);
	g_queue_clear_full(&p->queue, g_free);
	g_free(p->ns);
	g_free(p->address);
	g_free(p->binary);
	g_free(p->grpc_address);
	g_free(p);
}
