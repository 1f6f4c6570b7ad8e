// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include "oci/manifest.h"
#include <string.h>

/* A member that must be a string where it is there; NULL for the empty one. */
static bool get_string(JsonObject *o, const char *key, char **ret, GError **error)
{
	JsonObject *value = json_get(o, key);
	if (value != NULL && !json_object_is_type(value, json_type_string))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "image config: %s is not a string",
		                       Q(key));
	const char *s = value != NULL ? json_object_get_string(value) : "";
	*ret = *s != '\0' ? g_strdup(s) : NULL;
	return true;
}

/* Times only decorate: one that is not in our range (Go's zero time is in year 1) is not said. */
static TimeNs get_time(JsonObject *o, const char *key)
{
	const char *s = json_get_string(o, key);
	TimeNs t = 0;
	if (s != NULL)
		time_parse_rfc3339(s, &t, NULL);
	return t;
}

static bool get_strv(JsonObject *o, const char *key, char ***ret, GError **error)
{
	if (!json_get_strv(o, key, ret, error))
		return error_prefix(error, "image config");
	if (*ret == NULL)
		*ret = g_new0(char *, 1);
	return true;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an object, sorted: how sets are written (Volumes, ExposedPorts). */
static bool get_keys(JsonObject *o, const char *key, char ***ret, GError **error)
{
	JsonObject *set = json_get(o, key);
	if (set != NULL && !json_object_is_type(set, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "image config: %s is not an object",
		                       Q(key));
	size_t n = set != NULL ? (size_t)json_object_object_length(set) : 0, i = 0;
	char **keys = g_new0(char *, n + 1);
	if (set != NULL) {
		json_object_object_foreach(set, name, value)
		{
			(void)value;
			keys[i++] = g_strdup(name);
		}
	}
	qsort(keys, n, sizeof(char *), compare_strings);
	*ret = keys;
	return true;
}

static void history_free(gpointer p)
{
	ImageHistory *h = p;
	g_free(h->created_by);
	g_free(h->author);
	g_free(h->comment);
	g_free(h);
}

static bool get_history(JsonObject *doc, GPtrArray *history, GError **error)
{
	JsonObject *array = json_get(doc, "history");
	if (array == NULL)
		return true;
	if (!json_object_is_type(array, json_type_array))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "image config: \"history\" is not an array");
	size_t n = json_object_array_length(array);
	if (n > IMAGE_HISTORY_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "image config: history of more than %d entries", IMAGE_HISTORY_MAX);
	for (size_t i = 0; i < n; i++) {
		JsonObject *o = json_object_array_get_idx(array, i);
		ImageHistory *h = g_new0(ImageHistory, 1);
		g_ptr_array_add(history, h);
		h->created = get_time(o, "created");
		json_get_bool(o, "empty_layer", &h->empty_layer);
		if (!get_string(o, "created_by", &h->created_by, error) ||
		    !get_string(o, "author", &h->author, error) ||
		    !get_string(o, "comment", &h->comment, error))
			return false;
	}
	return true;
}

static bool get_rootfs(JsonObject *doc, ImageConfig *c, GError **error)
{
	JsonObject *rootfs = json_get(doc, "rootfs");
	if (rootfs != NULL && !json_object_is_type(rootfs, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "image config: \"rootfs\" is not an object");
	if (rootfs != NULL && !get_string(rootfs, "type", &c->rootfs_type, error))
		return false;
	if (!get_strv(rootfs, "diff_ids", &c->diff_ids, error))
		return false;
	size_t n = g_strv_length(c->diff_ids);
	if (n > MANIFEST_LAYERS_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "image config: more than %d diff ids", MANIFEST_LAYERS_MAX);
	for (size_t i = 0; i < n; i++)
		if (!digest_validate(c->diff_ids[i], error))
			return error_prefix(error, "image config: diff id %s", Q(c->diff_ids[i]));
	return true;
}

static bool get_config(JsonObject *doc, ImageConfig *c, GError **error)
{
	JsonObject *o = json_get(doc, "config");
	if (o != NULL && !json_object_is_type(o, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "image config: \"config\" is not an object");
	return get_string(o, "User", &c->user, error) &&
	       get_string(o, "WorkingDir", &c->working_dir, error) &&
	       get_string(o, "StopSignal", &c->stop_signal, error) && get_strv(o, "Env", &c->env, error) &&
	       get_strv(o, "Entrypoint", &c->entrypoint, error) && get_strv(o, "Cmd", &c->cmd, error) &&
	       get_keys(o, "Volumes", &c->volumes, error) &&
	       get_keys(o, "ExposedPorts", &c->exposed_ports, error) &&
	       (json_get_strmap(o, "Labels", &c->labels, error) || error_prefix(error, "image config"));
}

ImageConfig *image_config_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(JsonObject) doc = json_parse(data, len, MANIFEST_MAX, error);
	if (doc == NULL)
		return NULL;
	if (!json_object_is_type(doc, json_type_object)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "image config: not an object");
		return NULL;
	}
	g_autoptr(ImageConfig) c = g_new0(ImageConfig, 1);
	c->history = g_ptr_array_new_with_free_func(history_free);
	c->created = get_time(doc, "created");
	if (!get_string(doc, "author", &c->author, error) || !get_rootfs(doc, c, error) ||
	    !get_history(doc, c->history, error) || !get_config(doc, c, error))
		return NULL;
	if (!platform_from_json(doc, &c->platform, error)) {
		error_prefix(error, "image config");
		return NULL;
	}
	return g_steal_pointer(&c);
}

void image_config_free(ImageConfig *c)
{
	if (c == NULL)
		return;
	g_free(c->author);
	g_free(c->rootfs_type);
	platform_clear(&c->platform);
	g_strfreev(c->diff_ids);
	g_clear_pointer(&c->history, g_ptr_array_unref);
	g_free(c->user);
	g_free(c->working_dir);
	g_free(c->stop_signal);
	g_strfreev(c->env);
	g_strfreev(c->entrypoint);
	g_strfreev(c->cmd);
	g_strfreev(c->volumes);
	g_strfreev(c->exposed_ports);
	g_clear_pointer(&c->labels, g_hash_table_unref);
	g_free(c);
}

/* The chain id of a stack and one layer more. */
static char *chain_next(const char *parent, const char *diff_id)
{
	g_autofree char *both = g_strconcat(parent, " ", diff_id, NULL);
	return digest_bytes(both, strlen(both));
}

char *chain_id(const char *const *diff_ids, size_t n)
{
	char *id = n > 0 ? g_strdup(diff_ids[0]) : NULL;
	for (size_t i = 1; i < n; i++) {
		char *next = chain_next(id, diff_ids[i]);
		g_free(id);
		id = next;
	}
	return id;
}

char **chain_ids(const char *const *diff_ids)
{
	size_t n = g_strv_length((char **)diff_ids);
	char **ids = g_new0(char *, n + 1);
	for (size_t i = 0; i < n; i++)
		ids[i] = i == 0 ? g_strdup(diff_ids[0]) : chain_next(ids[i - 1], diff_ids[i]);
	return ids;
}
