// SPDX-License-Identifier: Apache-2.0
#include "api/message.h"
#include "api/registry.h"
#include "events/task.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "services/containers/v1/containers.pb-c.h"
#include "services/content/v1/content.pb-c.h"
#include <string.h>

static void free_message(void *m)
{
	protobuf_c_message_free_unpacked(*(ProtobufCMessage **)m, NULL);
}
#define automessage __attribute__((cleanup(free_message)))

/* ---- unpack ---- */

/* No init helpers are generated: what protobuf-c does instead must give a message that is empty. */
static void test_empty(void)
{
	size_t n;
	const ProtobufCMessageDescriptor *const *all = api_messages(&n);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) error = NULL;
		automessage ProtobufCMessage *m = api_unpack(all[i], NULL, NULL, 0, &error);
		g_assert_no_error(error);
		g_assert_true(m->descriptor == all[i]);
		g_assert_cmpuint(protobuf_c_message_get_packed_size(m), ==, 0);
	}
}

/* protobuf-c 1.4.1 crashes on a oneof of a string and a message in a type without an init helper: see README.
 */
static void test_oneofs_have_init_helpers(void)
{
	size_t n;
	const ProtobufCMessageDescriptor *const *all = api_messages(&n);
	for (size_t i = 0; i < n; i++) {
		const ProtobufCFieldDescriptor *last = NULL;
		for (unsigned j = 0; j < all[i]->n_fields && all[i]->message_init == NULL; j++) {
			const ProtobufCFieldDescriptor *field = &all[i]->fields[j];
			if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
				continue;
			if (last != NULL && last->quantifier_offset == field->quantifier_offset)
				g_error("%s needs gen_init_helpers", all[i]->name);
			last = field;
		}
	}
}

static void test_unknown_fields_survive(void)
{
	static const uint8_t bytes[] = {0x0a, 1, 'c', 0x98, 0x06, 7, 0xa2, 0x06, 2, 'h', 'i'};
	automessage Containerd__Events__TaskOOM *m =
	        api_unpack(&containerd__events__task_oom__descriptor, NULL, bytes, sizeof(bytes), NULL);
	g_assert_cmpstr(m->container_id, ==, "c");
	g_assert_cmpuint(m->base.n_unknown_fields, ==, 2);
	uint8_t again[sizeof(bytes)];
	g_assert_cmpuint(protobuf_c_message_get_packed_size(&m->base), ==, sizeof(bytes));
	protobuf_c_message_pack(&m->base, again);
	g_assert_cmpmem(again, (int)sizeof(again), bytes, (int)sizeof(bytes));
}

/* A Value inside `levels` pairs of Value and ListValue. */
static GByteArray *nested(unsigned levels)
{
	GByteArray *b = g_byte_array_new();
	for (unsigned i = 0; i < levels; i++) {
		uint8_t head[8];
		size_t n = 0;
		head[n++] = i % 2 == 0 ? 0x32 : 0x0a; // Value.list_value, ListValue.values
		guint len = b->len;
		for (; len >= 0x80; len >>= 7)
			head[n++] = (uint8_t)(len | 0x80);
		head[n++] = (uint8_t)len;
		g_byte_array_prepend(b, head, (guint)n);
	}
	return b;
}

static void test_depth(void)
{
	const ProtobufCMessageDescriptor *value = &google__protobuf__value__descriptor;
	const ProtobufCMessageDescriptor *list = &google__protobuf__list_value__descriptor;
	g_autoptr(GError) error = NULL;

	g_autoptr(GByteArray) good = nested(API_MAX_DEPTH);
	automessage ProtobufCMessage *m = api_unpack(list, NULL, good->data, good->len, &error);
	g_assert_no_error(error);
	g_assert_nonnull(m);

	g_autoptr(GByteArray) deep = nested(API_MAX_DEPTH + 1);
	g_assert_null(api_unpack(value, NULL, deep->data, deep->len, &error));
	g_assert_error(error, API_ERROR, API_ERROR_LIMIT);
	g_assert_cmpstr(error->message, ==, "message is nested more than 100 levels deep");
}

/* Two bytes on the wire become a whole struct: 16 MiB of them must not become gigabytes. */
static void test_memory(void)
{
	const ProtobufCMessageDescriptor *type =
	        &containerd__services__containers__v1__list_containers_response__descriptor;
	size_t len = 16 << 20;
	g_autofree uint8_t *bytes = g_malloc0(len);
	for (size_t i = 0; i < len; i += 2)
		bytes[i] = 0x0a;

	g_autoptr(GError) error = NULL;
	g_assert_null(api_unpack(type, NULL, bytes, len, &error));
	g_assert_error(error, API_ERROR, API_ERROR_LIMIT);
	g_assert_cmpstr(error->message, ==, "message needs more than 268435456 bytes unpacked");

	g_clear_error(&error);
	automessage Containerd__Services__Containers__V1__ListContainersResponse *m =
	        api_unpack(type, NULL, bytes, 2000, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(m->n_containers, ==, 1000);
}

/* A chunk of content as large as a message may be goes through. */
static void test_large_bytes(void)
{
	size_t len = 16 << 20;
	Containerd__Services__Content__V1__ReadContentResponse chunk =
	        CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;
	g_autofree uint8_t *data = g_malloc0(len);
	chunk.data.data = data;
	chunk.data.len = len;
	size_t size = protobuf_c_message_get_packed_size(&chunk.base);
	g_autofree uint8_t *packed = g_malloc(size);
	protobuf_c_message_pack(&chunk.base, packed);

	g_autoptr(GError) error = NULL;
	automessage Containerd__Services__Content__V1__ReadContentResponse *m =
	        api_unpack(chunk.base.descriptor, NULL, packed, size, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(m->data.len, ==, len);
}

/* ---- Any ---- */

static void test_any(void)
{
	Containerd__Events__TaskExit exit_event = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	exit_event.container_id = "c1";
	exit_event.exit_status = 137;
	automessage Google__Protobuf__Any *any = api_any_pack(&exit_event, NULL);
	g_assert_cmpstr(any->type_url, ==, "containerd.events.TaskExit");
	g_assert_true(api_any_is(any, &containerd__events__task_exit__descriptor));
	g_assert_false(api_any_is(any, &containerd__events__task_start__descriptor));
	g_assert_false(api_any_is(NULL, &containerd__events__task_exit__descriptor));

	g_autoptr(GError) error = NULL;
	automessage Containerd__Events__TaskExit *m =
	        api_any_unpack(any, &containerd__events__task_exit__descriptor, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(m->container_id, ==, "c1");
	g_assert_cmpuint(m->exit_status, ==, 137);

	automessage ProtobufCMessage *known = api_any_unpack_known(any, NULL, &error);
	g_assert_no_error(error);
	g_assert_true(known->descriptor == &containerd__events__task_exit__descriptor);

	g_assert_null(api_any_unpack(any, &containerd__events__task_oom__descriptor, NULL, &error));
	g_assert_error(error, API_ERROR, API_ERROR_TYPE);
	g_assert_cmpstr(error->message, ==,
	                "can't unmarshal type \"containerd.events.TaskExit\" to output "
	                "\"containerd.events.TaskOOM\"");
}

static void test_any_prefix(void)
{
	static char url[] = "type.googleapis.com/containerd.events.TaskOOM";
	static uint8_t value[] = {0x0a, 1, 'c'};
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = url;
	any.value.data = value;
	any.value.len = sizeof(value);

	g_autoptr(GError) error = NULL;
	automessage Containerd__Events__TaskOOM *m =
	        api_any_unpack(&any, &containerd__events__task_oom__descriptor, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(m->container_id, ==, "c");

	any.value.len = 2; // cut
	g_assert_null(api_any_unpack_known(&any, NULL, &error));
	g_assert_error(error, API_ERROR, API_ERROR_MALFORMED);
	g_assert_cmpstr(error->message, ==,
	                "proto: cannot parse invalid wire-format data: containerd.events.TaskOOM: "
	                "length beyond the end");
}

static void test_any_unknown(void)
{
	static char url[] = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	g_autoptr(GError) error = NULL;
	g_assert_null(api_any_unpack_known(&any, NULL, &error));
	g_assert_cmpstr(error->message, ==, "type with url : not found");

	g_clear_error(&error);
	any.type_url = url;
	g_assert_null(api_any_unpack_known(&any, NULL, &error));
	g_assert_error(error, API_ERROR, API_ERROR_TYPE);
	g_assert_cmpstr(error->message, ==,
	                "type with url types.containerd.io/opencontainers/runtime-spec/1/Spec: not found");
}

/* An allocator that never frees, as an arena does. */
static void *bump(void *data, size_t size)
{
	char **at = data;
	void *p = *at;
	*at += (size + 15) / 16 * 16;
	return p;
}

static void bump_free(void *data, void *p)
{
}

static void test_allocator(void)
{
	static _Alignas(16) char arena[4096];
	char *at = arena;
	ProtobufCAllocator allocator = {bump, bump_free, &at};

	Containerd__Events__TaskOOM oom = CONTAINERD__EVENTS__TASK_OOM__INIT;
	oom.container_id = "c";
	Google__Protobuf__Any *any = api_any_pack(&oom, &allocator);
	Containerd__Events__TaskOOM *m =
	        api_any_unpack(any, &containerd__events__task_oom__descriptor, &allocator, NULL);
	g_assert_cmpstr(m->container_id, ==, "c");
	g_assert_true(m->container_id > arena && m->container_id < at);

	oom.container_id = "";
	any = api_any_pack(&oom, &allocator);
	g_assert_null(any->value.data);
}

/* ---- registry ---- */

static void test_find(void)
{
	g_assert_true(api_message_find("containerd.events.TaskExit") ==
	              &containerd__events__task_exit__descriptor);
	g_assert_true(api_message_find("type.googleapis.com/containerd.events.TaskExit") ==
	              &containerd__events__task_exit__descriptor);
	g_assert_null(api_message_find("containerd.events.TaskExi"));
	g_assert_null(api_message_find(""));
	g_assert_null(api_message_find(NULL));
	g_assert_true(api_service_find("containerd.services.content.v1.Content") ==
	              &containerd__services__content__v1__content__descriptor);
	g_assert_null(api_service_find("containerd.services.content.v1"));

	size_t n;
	const ProtobufCMessageDescriptor *const *all = api_messages(&n);
	for (size_t i = 0; i < n; i++)
		g_assert_true(api_message_find(all[i]->name) == all[i]);
}

static void test_init(void)
{
	/* As the macro does: no string is NULL, and packing gives nothing. */
	Containerd__Types__Mount m;
	memset(&m, 0xff, sizeof(m));
	api_init(&containerd__types__mount__descriptor, &m);
	g_assert_cmpstr(m.source, ==, "");
	g_assert_cmpuint(m.n_options, ==, 0);
	g_assert_null(m.options);
	g_assert_cmpuint(protobuf_c_message_get_packed_size(&m.base), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/message/empty", test_empty);
	g_test_add_func("/message/oneofs-have-init-helpers", test_oneofs_have_init_helpers);
	g_test_add_func("/message/unknown-fields-survive", test_unknown_fields_survive);
	g_test_add_func("/message/depth", test_depth);
	g_test_add_func("/message/memory", test_memory);
	g_test_add_func("/message/large-bytes", test_large_bytes);
	g_test_add_func("/message/init", test_init);
	g_test_add_func("/any/pack-and-unpack", test_any);
	g_test_add_func("/any/prefix", test_any_prefix);
	g_test_add_func("/any/unknown", test_any_unknown);
	g_test_add_func("/any/allocator", test_allocator);
	g_test_add_func("/registry/find", test_find);
	return g_test_run();
}
