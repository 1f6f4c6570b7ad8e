// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "api/message.h"
#include <stdio.h>
#include <string.h>

typedef struct {
	ProtobufCMessage base;
	const char *key, *value;
} StringEntry;

GHashTable *label_words(char **words)
{
	GHashTable *map = strmap_new();
	for (char **w = words; *w != NULL; w++) {
		g_auto(GStrv) kv = g_strsplit(*w, "=", 2);
		if (kv[0] != NULL)
			strmap_set(map, kv[0], kv[1] != NULL ? kv[1] : "true");
	}
	return map;
}

GHashTable *label_args(Cli *cli, int first)
{
	return label_words(cli_args(cli) + MIN(first, cli_n_args(cli)));
}

char *labels_text(GHashTable *labels, const char *separator)
{
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(labels);
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; i < keys->len; i++)
		g_string_append_printf(s, "%s%s=%s", i > 0 ? separator : "", (char *)keys->pdata[i],
		                       strmap_get(labels, keys->pdata[i]));
	return g_string_free(g_steal_pointer(&s), FALSE);
}

GPtrArray *label_entries(GHashTable *map, const ProtobufCMessageDescriptor *entry)
{
	g_assert(entry->sizeof_message == sizeof(StringEntry));
	GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	for (guint i = 0; i < keys->len; i++) {
		StringEntry *e = g_new0(StringEntry, 1);
		api_init(entry, e);
		e->key = keys->pdata[i];
		e->value = strmap_get(map, e->key);
		g_ptr_array_add(out, e);
	}
	return out;
}

GHashTable *label_map(size_t n, const void *entries)
{
	StringEntry *const *e = entries;
	GHashTable *map = strmap_new();
	for (size_t i = 0; i < n; i++)
		strmap_set(map, e[i]->key, e[i]->value);
	return map;
}

GPtrArray *label_paths(GHashTable *map)
{
	GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	for (guint i = 0; i < keys->len; i++)
		g_ptr_array_add(paths, g_strconcat("labels.", keys->pdata[i], NULL));
	return paths;
}

static gboolean value_is_empty(gpointer key, gpointer value, gpointer data)
{
	return str_empty(value);
}

void label_drop_empty(GHashTable *map)
{
	g_hash_table_foreach_remove(map, value_is_empty, NULL);
}

JsonObject *strmap_to_json(GHashTable *map)
{
	JsonObject *o = json_object_new_object();
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	for (guint i = 0; i < keys->len; i++)
		json_set_string(o, keys->pdata[i], strmap_get(map, keys->pdata[i]));
	return o;
}

TimeNs time_in(const Google__Protobuf__Timestamp *t)
{
	int64_t ns = 0;
	if (t == NULL || __builtin_mul_overflow(t->seconds, NS_PER_SEC, &ns))
		return 0;
	return ns + t->nanos;
}

char *time_local(TimeNs t)
{
	g_autoptr(GDateTime) dt = g_date_time_new_from_unix_local(t / NS_PER_SEC);
	if (g_date_time_get_utc_offset(dt) == 0)
		return g_date_time_format(dt, "%Y-%m-%dT%H:%M:%SZ");
	return g_date_time_format(dt, "%Y-%m-%dT%H:%M:%S%:z");
}

char *bytes_text(int64_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)n;
	size_t u = 0;
	while (v >= 1024 && u + 1 < G_N_ELEMENTS(units)) {
		v /= 1024;
		u++;
	}
	return g_strdup_printf("%3.1f %s", v, units[u]);
}

/* ---- messages as JSON ---- */

static JsonObject *field_to_json(const ProtobufCFieldDescriptor *f, const void *p)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_object_new_string(str_or(*(const char *const *)p, ""));
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *m = *(const ProtobufCMessage *const *)p;
		return m != NULL ? message_to_json(m) : NULL;
	}
	case PROTOBUF_C_TYPE_BYTES: {
		const ProtobufCBinaryData *b = p;
		g_autofree char *text = g_base64_encode(b->data, b->len);
		return json_object_new_string(text);
	}
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_object_new_uint64(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_object_new_int64(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_object_new_int64(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		return json_object_new_int(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_object_new_double((double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_object_new_double(*(const double *)p);
	}
	return NULL;
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_MESSAGE &&
	       g_str_has_suffix(((const ProtobufCMessageDescriptor *)f->descriptor)->short_name, "Entry");
}

/* What lies at an offset of a message; its type says that it is aligned. */
static const void *at(const ProtobufCMessage *m, unsigned offset)
{
	return (const char *)m + offset;
}

static JsonObject *repeated_to_json(const ProtobufCFieldDescriptor *f, const ProtobufCMessage *m)
{
	size_t n = *(const size_t *)at(m, f->quantifier_offset);
	const char *data = *(const char *const *)at(m, f->offset);
	if (n == 0)
		return NULL;
	bool map = is_map(f);
	JsonObject *out = map ? json_object_new_object() : json_object_new_array();
	for (size_t i = 0; i < n; i++) {
		const void *p = data + i * element_size(f);
		if (!map) {
			json_object_array_add(out, field_to_json(f, p));
			continue;
		}
		const ProtobufCMessage *e = *(const ProtobufCMessage *const *)p;
		const ProtobufCFieldDescriptor *key = &e->descriptor->fields[0],
		                               *value = &e->descriptor->fields[1];
		json_object_object_add(out, *(const char *const *)at(e, key->offset),
		                       field_to_json(value, at(e, value->offset)));
	}
	return out;
}

/* Whether Go's omitempty leaves the field out. */
static bool is_empty(const ProtobufCFieldDescriptor *f, const void *p)
{
	static const char zero[sizeof(ProtobufCBinaryData)];
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return str_empty(*(const char *const *)p);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)p)->len == 0;
	return memcmp(p, zero, element_size(f)) == 0;
}

JsonObject *message_to_json(const ProtobufCMessage *m)
{
	JsonObject *out = json_object_new_object();
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *p = at(m, f->offset);
		JsonObject *value = NULL;
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			value = repeated_to_json(f, m);
		else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
		         *(const uint32_t *)at(m, f->quantifier_offset) != f->id)
			value = NULL;
		else if (!is_empty(f, p))
			value = field_to_json(f, p);
		if (value != NULL)
			json_object_object_add(out, f->name, value);
	}
	return out;
}

void print_json(JsonObject *o)
{
	g_autofree char *text = json_to_text_pretty(o);
	puts(text);
	json_object_put(o);
}

void print_json_list(size_t n, ProtobufCMessage *const *messages)
{
	JsonObject *list = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, message_to_json(messages[i]));
	print_json(list);
}

const CliFlag flags_quiet[] = {
        {"quiet", FLAG_BOOL, "Print only the names", {"q"}, "false"},
        {0},
};
const CliFlag flags_format[] = {
        {"format", FLAG_STRING, "Print as JSON instead of a table: json"},
        {0},
};

bool ctr_wants_json(Cli *cli)
{
	return g_str_equal(cli_string(cli, "format"), "json");
}

char *time_go(TimeNs t)
{
	g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(t / NS_PER_SEC);
	g_autofree char *seconds = g_date_time_format(at, "%Y-%m-%d %H:%M:%S");
	g_autofree char *fraction = g_strdup_printf(".%09d", (int)(t % NS_PER_SEC));
	size_t n = strlen(fraction);
	while (n > 1 && fraction[n - 1] == '0')
		n--;
	return g_strdup_printf("%s%.*s +0000 UTC", seconds, n > 1 ? (int)n : 0, fraction);
}

JsonObject *any_to_json(const Google__Protobuf__Any *any)
{
	if (any == NULL)
		return NULL;
	JsonObject *o = json_object_new_object();
	g_autofree char *value = g_base64_encode(any->value.data, any->value.len);
	json_set_string(o, "type_url", any->type_url);
	json_set_string(o, "value", value);
	return o;
}
