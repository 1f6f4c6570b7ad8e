// SPDX-License-Identifier: Apache-2.0

#include "store/sandboxes.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "store/filter-text.h"
#include <string.h>

#define COLUMNS "id, name, runtime, options_type, options, spec_type, spec, sandboxer, created, updated"

Sandbox *sandbox_new(void)
{
	Sandbox *s = g_new0(Sandbox, 1);
	s->labels = strmap_new();
	s->extensions = extensions_new();
	return s;
}

void sandbox_free(Sandbox *s)
{
	if (s == NULL)
		return;
	g_free(s->id);
	g_free(s->runtime_name);
	any_clear(&s->runtime_options);
	any_clear(&s->spec);
	g_free(s->sandboxer);
	g_clear_pointer(&s->labels, g_hash_table_unref);
	g_clear_pointer(&s->extensions, g_hash_table_unref);
	g_free(s);
}

static Sandbox *sandbox_copy(const Sandbox *from)
{
	Sandbox *s = g_new0(Sandbox, 1);
	s->id = g_strdup(from->id);
	s->runtime_name = g_strdup(str_or(from->runtime_name, ""));
	any_copy(&s->runtime_options, &from->runtime_options);
	any_copy(&s->spec, &from->spec);
	s->sandboxer = g_strdup(str_or(from->sandboxer, ""));
	s->labels = strmap_copy(from->labels);
	s->extensions = extensions_copy(from->extensions);
	return s;
}

typedef struct {
	const char *ns, *id;
	const Sandbox *input;
	const char *const *paths;
	Filter *filter;
	Sandbox *sandbox; // the result
	GPtrArray *list;
} Args;

/* ---- rows ---- */

static Sandbox *read_sandbox(MetaTx *tx, sqlite3_stmt *stmt, GError **error)
{
	g_autoptr(Sandbox) s = g_new0(Sandbox, 1);
	int64_t row = sqlite3_column_int64(stmt, 0);
	s->id = meta_column_dup(stmt, 1);
	s->runtime_name = meta_column_dup(stmt, 2);
	meta_column_any(stmt, 3, &s->runtime_options);
	meta_column_any(stmt, 5, &s->spec);
	s->sandboxer = meta_column_dup(stmt, 7);
	s->created_at = sqlite3_column_int64(stmt, 8);
	s->updated_at = sqlite3_column_int64(stmt, 9);
	s->labels = meta_labels_read(tx, META_SANDBOX, row, error);
	if (s->labels == NULL)
		return NULL;
	s->extensions = meta_extensions_read(tx, META_SANDBOX, row, error);
	return s->extensions != NULL ? g_steal_pointer(&s) : NULL;
}

static Sandbox *find(MetaTx *tx, const Args *a, const char *id, int64_t *ret_row, GError **error)
{
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT " COLUMNS " FROM sandbox WHERE ns = ? AND name = ?", "ss", a->ns, id);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return NULL;
	if (!row) {
		error_set_class(error, CTRD_ERR_NOT_FOUND, "bucket %s not found", Q(id));
		return NULL;
	}
	if (ret_row != NULL)
		*ret_row = sqlite3_column_int64(stmt, 0);
	Sandbox *s = read_sandbox(tx, stmt, error);
	sqlite3_reset(stmt);
	return s;
}

static bool write_maps(MetaTx *tx, int64_t row, Sandbox *s, GError **error)
{
	return meta_labels_write(tx, META_SANDBOX, row, s->labels, error) &&
	       meta_extensions_write(tx, META_SANDBOX, row, s->extensions, error);
}

/* ---- the store ---- */

static bool create_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	Sandbox *s = a->sandbox;
	if (!meta_run(tx, error,
	              "INSERT INTO sandbox(ns, name, runtime, options_type, options, spec_type, spec,"
	              " sandboxer, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	              " ON CONFLICT DO NOTHING",
	              "sssaasii", a->ns, s->id, s->runtime_name, &s->runtime_options, &s->spec, s->sandboxer,
	              s->created_at, s->updated_at))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS,
		                       "write error: sandbox bucket %s already exists", Q(s->id));
	return write_maps(tx, meta_tx_last_id(tx), s, error);
}

Sandbox *sandboxes_create(MetaDb *db, const Ctx *ctx, const Sandbox *input, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	if (!identifier_validate(str_or(input->id, ""), error)) {
		error_prefix(error, "failed to validate sandbox: invalid sandbox ID");
		return NULL;
	}
	g_autoptr(Sandbox) s = sandbox_copy(input);
	s->created_at = s->updated_at = time_now();
	if (!meta_update(db, create_tx, &(Args){.ns = ns, .sandbox = s}, error))
		return NULL;
	return g_steal_pointer(&s);
}

static void replace_any(Any *any, const Any *value)
{
	any_clear(any);
	any_copy(any, value);
}

static bool apply_path(Sandbox *s, const Sandbox *input, const char *path, GError **error)
{
	if (fieldpath_apply(path, "labels.", s->labels, input->labels) ||
	    extensions_apply(path, s->extensions, input->extensions))
		return true;
	if (strcmp(path, "labels") == 0) {
		g_hash_table_unref(s->labels);
		s->labels = strmap_copy(input->labels);
	} else if (strcmp(path, "extensions") == 0) {
		g_hash_table_unref(s->extensions);
		s->extensions = extensions_copy(input->extensions);
	} else if (strcmp(path, "runtime") == 0) {
		g_free(s->runtime_name);
		s->runtime_name = g_strdup(str_or(input->runtime_name, ""));
		replace_any(&s->runtime_options, &input->runtime_options);
	} else if (strcmp(path, "spec") == 0) {
		replace_any(&s->spec, &input->spec);
	} else {
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "cannot update %s field on sandbox %s", Q(path), Q(s->id));
	}
	return true;
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	static const char *const all[] = {"labels", "extensions", "spec", "runtime", NULL};
	Args *a = data;
	int64_t row;
	g_autoptr(Sandbox) s = find(tx, a, str_or(a->input->id, ""), &row, error);
	if (s == NULL)
		return false;
	bool everything = fieldpaths_empty(a->paths);
	if (everything && strcmp(s->runtime_name, str_or(a->input->runtime_name, "")) != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "sandbox.Runtime.Name field is immutable");
	for (const char *const *path = everything ? all : a->paths; *path != NULL; path++) {
		if (!apply_path(s, a->input, *path, error))
			return false;
	}
	s->updated_at = time_now();
	if (!meta_run(
	            tx, error,
	            "UPDATE sandbox SET runtime = ?, options_type = ?, options = ?, spec_type = ?, spec = ?,"
	            " updated = ? WHERE id = ?",
	            "saaii", s->runtime_name, &s->runtime_options, &s->spec, s->updated_at, row) ||
	    !write_maps(tx, row, s, error))
		return false;
	a->sandbox = g_steal_pointer(&s);
	return true;
}

Sandbox *sandboxes_update(MetaDb *db, const Ctx *ctx, const Sandbox *input, const char *const *paths,
                          GError **error)
{
	Args a = {.ns = meta_namespace(ctx, error), .input = input, .paths = paths};
	bool ok = a.ns != NULL && meta_update(db, update_tx, &a, error);
	g_autoptr(Sandbox) s = a.sandbox;
	return ok ? g_steal_pointer(&s) : NULL;
}

static bool get_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	a->sandbox = find(tx, a, a->id, NULL, error);
	return a->sandbox != NULL;
}

Sandbox *sandboxes_get(MetaDb *db, const Ctx *ctx, const char *id, GError **error)
{
	Args a = {.ns = meta_namespace(ctx, error), .id = str_or(id, "")};
	return a.ns != NULL && meta_view(db, get_tx, &a, error) ? a.sandbox : NULL;
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const Sandbox *s = data;
	*present = filter_is(path, n, "id");
	if (*present)
		return s->id;
	return filter_is(path, n, "labels") ? filter_map_field(s->labels, path + 1, n - 1, present) : NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT " COLUMNS " FROM sandbox WHERE ns = ? ORDER BY name", "s", a->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(Sandbox) s = read_sandbox(tx, stmt, error);
		if (s == NULL)
			return false;
		if (filter_match(a->filter, field, s))
			g_ptr_array_add(a->list, g_steal_pointer(&s));
	}
	return false;
}

GPtrArray *sandboxes_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	g_autoptr(Filter) filter = filter_parse_list(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)sandbox_free);
	if (!meta_view(db, list_tx, &(Args){.ns = ns, .filter = filter, .list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!meta_run(tx, error, "DELETE FROM sandbox WHERE ns = ? AND name = ?", "ss", a->ns, a->id))
		return false;
	return meta_tx_changes(tx) > 0 ||
	       error_set_class(error, CTRD_ERR_NOT_FOUND, "failed to delete sandbox %s", Q(a->id));
}

bool sandboxes_delete(MetaDb *db, const Ctx *ctx, const char *id, GError **error)
{
	Args a = {.ns = meta_namespace(ctx, error), .id = str_or(id, "")};
	return a.ns != NULL && meta_update(db, delete_tx, &a, error);
}
