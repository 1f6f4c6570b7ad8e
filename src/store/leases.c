// SPDX-License-Identifier: Apache-2.0

#include "store/leases.h"
#include "base/digest.h"
#include "base/error.h"
#include "store/filter-text.h"
#include <string.h>

void lease_free(Lease *l)
{
	if (l == NULL)
		return;
	g_free(l->id);
	g_clear_pointer(&l->labels, g_hash_table_unref);
	g_free(l);
}

void lease_resource_free(LeaseResource *r)
{
	if (r == NULL)
		return;
	g_free(r->id);
	g_free(r->type);
	g_free(r);
}

typedef struct {
	const char *ns, *id;
	Lease *lease;
	const LeaseResource *resource;
	Filter *filter;
	GPtrArray *list;
} Args;

/* *ret 0: there is none. */
static bool find(MetaTx *tx, const char *ns, const char *id, int64_t *ret, GError **error)
{
	bool found;
	*ret = 0;
	return meta_query_int(tx, &found, ret, error, "SELECT id FROM lease WHERE ns = ? AND name = ?", "ss",
	                      ns, id);
}

static bool find_required(MetaTx *tx, const Args *a, int64_t *ret, GError **error)
{
	if (!find(tx, a->ns, a->id, ret, error))
		return false;
	return *ret != 0 || error_set_class(error, CTRD_ERR_NOT_FOUND, "lease %s", Q(a->id));
}

static bool create_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	a->lease->created_at = time_now();
	if (!meta_run(tx, error,
	              "INSERT INTO lease(ns, name, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", "ssi",
	              a->ns, a->lease->id, a->lease->created_at))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "lease %s", Q(a->lease->id));
	return meta_labels_write(tx, META_LEASE, meta_tx_last_id(tx), a->lease->labels, error);
}

Lease *leases_create(MetaDb *db, const Ctx *ctx, const char *id, GHashTable *labels, GError **error)
{
	if (str_empty(id)) {
		error_set(error, CTRD_ERR_UNKNOWN, "lease id must be provided");
		return NULL;
	}
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	g_autoptr(Lease) lease = g_new0(Lease, 1);
	lease->id = g_strdup(id);
	lease->labels = strmap_copy(labels);
	if (!meta_update_for(db, ctx, create_tx, &(Args){.ns = ns, .lease = lease}, error))
		return NULL;
	return g_steal_pointer(&lease);
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!meta_run(tx, error, "DELETE FROM lease WHERE ns = ? AND name = ?", "ss", a->ns, a->id))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "lease %s", Q(a->id));
	meta_tx_dirty(tx, NULL);
	return true;
}

bool leases_delete(MetaDb *db, const Ctx *ctx, const char *id, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	return ns != NULL && meta_update_for(db, ctx, delete_tx, &(Args){.ns = ns, .id = id}, error);
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const Lease *l = data;
	if (filter_is(path, n, "id"))
		return filter_text(l->id, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(l->labels, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT id, name, created FROM lease WHERE ns = ? ORDER BY name", "s", a->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(Lease) lease = g_new0(Lease, 1);
		lease->id = meta_column_dup(stmt, 1);
		lease->created_at = sqlite3_column_int64(stmt, 2);
		lease->labels = meta_labels_read(tx, META_LEASE, sqlite3_column_int64(stmt, 0), error);
		if (lease->labels == NULL)
			return false;
		if (filter_match(a->filter, field, lease))
			g_ptr_array_add(a->list, g_steal_pointer(&lease));
	}
	return false;
}

GPtrArray *leases_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	g_autoptr(Filter) filter = filter_parse_list(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)lease_free);
	if (!meta_view(db, list_tx, &(Args){.ns = ns, .filter = filter, .list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

/* ---- resources ---- */

static bool resource_check(const LeaseResource *r, GError **error)
{
	g_auto(GStrv) keys = g_strsplit(str_or(r->type, ""), "/", -1);
	guint n = g_strv_length(keys);
	const char *kind = n > 0 ? keys[0] : "";
	if (strcmp(kind, "content") == 0 || strcmp(kind, "ingests") == 0 || strcmp(kind, "images") == 0) {
		if (n != 1)
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "invalid resource type %s",
			                       r->type);
		g_autoptr(GError) cause = NULL;
		if (strcmp(kind, "content") == 0 && !digest_validate(r->id, &cause))
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "invalid content resource id %s: %s", r->id, cause->message);
		return true;
	}
	if (strcmp(kind, "snapshots") == 0) {
		if (n != 2)
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "invalid snapshot resource type %s", r->type);
		return true;
	}
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "resource type %s not supported yet",
	                       str_or(r->type, ""));
}

static bool insert_resource(MetaTx *tx, int64_t lease, const char *type, const char *id, GError **error)
{
	return meta_run(
	        tx, error,
	        "INSERT INTO lease_resource(lease, type, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", "iss",
	        lease, type, id);
}

static bool delete_resource(MetaTx *tx, int64_t lease, const char *type, const char *id, GError **error)
{
	return meta_run(tx, error, "DELETE FROM lease_resource WHERE lease = ? AND type = ? AND key = ?",
	                "iss", lease, type, id);
}

static bool add_resource_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t lease;
	return find_required(tx, a, &lease, error) && resource_check(a->resource, error) &&
	       insert_resource(tx, lease, a->resource->type, a->resource->id, error);
}

bool leases_add_resource(MetaDb *db, const Ctx *ctx, const char *lease, const LeaseResource *r,
                         GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	return ns != NULL &&
	       meta_update(db, add_resource_tx, &(Args){.ns = ns, .id = lease, .resource = r}, error);
}

static bool delete_resource_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t lease;
	if (!find_required(tx, a, &lease, error) || !resource_check(a->resource, error) ||
	    !delete_resource(tx, lease, a->resource->type, a->resource->id, error))
		return false;
	meta_tx_dirty(tx, NULL);
	return true;
}

bool leases_delete_resource(MetaDb *db, const Ctx *ctx, const char *lease, const LeaseResource *r,
                            GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	return ns != NULL &&
	       meta_update(db, delete_resource_tx, &(Args){.ns = ns, .id = lease, .resource = r}, error);
}

static bool list_resources_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t lease;
	if (!find_required(tx, a, &lease, error))
		return false;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT type, key FROM lease_resource WHERE lease = ? ORDER BY type, key", "i",
	        lease);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		LeaseResource *r = g_new0(LeaseResource, 1);
		r->type = meta_column_dup(stmt, 0);
		r->id = meta_column_dup(stmt, 1);
		g_ptr_array_add(a->list, r);
	}
	return false;
}

GPtrArray *leases_list_resources(MetaDb *db, const Ctx *ctx, const char *lease, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)lease_resource_free);
	if (!meta_view(db, list_resources_tx, &(Args){.ns = ns, .id = lease, .list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

bool lease_add_in_tx(MetaTx *tx, const Ctx *ctx, const char *type, const char *id, GError **error)
{
	if (ctx->lease == NULL)
		return true;
	int64_t lease;
	if (!find(tx, ctx->ns, ctx->lease, &lease, error))
		return false;
	if (lease == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "lease does not exist");
	return insert_resource(tx, lease, type, id, error);
}

bool lease_remove_in_tx(MetaTx *tx, const Ctx *ctx, const char *type, const char *id, GError **error)
{
	if (ctx->lease == NULL)
		return true;
	int64_t lease;
	return find(tx, ctx->ns, ctx->lease, &lease, error) &&
	       (lease == 0 || delete_resource(tx, lease, type, id, error));
}
