// SPDX-License-Identifier: Apache-2.0

#include "store/snapshots.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "base/util.h"
#include <string.h>

// bolt's limit for a key, which upstream's snapshots have
#define KEY_MAX 32768

const char *snapshot_kind_name(SnapshotKind kind)
{
	switch (kind) {
	case SNAPSHOT_VIEW:
		return "View";
	case SNAPSHOT_ACTIVE:
		return "Active";
	case SNAPSHOT_COMMITTED:
		return "Committed";
	case SNAPSHOT_UNKNOWN:
		break;
	}
	return "Unknown";
}

void snapshot_info_free(SnapshotInfo *info)
{
	if (info == NULL)
		return;
	g_free(info->name);
	g_free(info->parent);
	g_clear_pointer(&info->labels, g_hash_table_unref);
	g_free(info);
}

GHashTable *snapshot_inherited_labels(GHashTable *labels)
{
	GHashTable *out = strmap_new();
	GHashTableIter iter;
	void *key, *value;
	if (labels == NULL)
		return out;
	g_hash_table_iter_init(&iter, labels);
	while (g_hash_table_iter_next(&iter, &key, &value)) {
		if (g_str_equal(key, SNAPSHOT_LABEL_REF) || g_str_has_prefix(key, "containerd.io/snapshot/"))
			strmap_set(out, key, value);
	}
	return out;
}

static bool check_key(const Ctx *ctx, const char *key, GError **error)
{
	if (str_empty(key))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "snapshot key must not be empty");
	if (strlen(key) > KEY_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "snapshot key is longer than %d bytes", KEY_MAX);
	return cancel_check(ctx->cancel, error);
}

static bool check_labels(GHashTable *labels, GError **error)
{
	return labels == NULL || labels_validate(labels, error) || error_prefix(error, "info.Labels");
}

SnapshotInfo *snapshot_stat(Snapshotter *s, const Ctx *ctx, const char *key, GError **error)
{
	return check_key(ctx, key, error) ? s->ops->stat(s, ctx, key, error) : NULL;
}

SnapshotInfo *snapshot_update(Snapshotter *s, const Ctx *ctx, const SnapshotInfo *info,
                              const char *const *paths, GError **error)
{
	if (str_empty(info->name)) {
		error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid argument");
		return NULL;
	}
	return check_key(ctx, info->name, error) ? s->ops->update(s, ctx, info, paths, error) : NULL;
}

bool snapshot_usage(Snapshotter *s, const Ctx *ctx, const char *key, SnapshotUsage *ret, GError **error)
{
	return check_key(ctx, key, error) && s->ops->usage(s, ctx, key, ret, error);
}

GPtrArray *snapshot_mounts(Snapshotter *s, const Ctx *ctx, const char *key, GError **error)
{
	return check_key(ctx, key, error) ? s->ops->mounts(s, ctx, key, error) : NULL;
}

static GPtrArray *prepare(Snapshotter *s, const Ctx *ctx, SnapshotKind kind, const char *key,
                          const char *parent, GHashTable *labels, GError **error)
{
	if (!check_labels(labels, error) || !check_key(ctx, key, error))
		return NULL;
	return s->ops->prepare(s, ctx, kind, key, str_or(parent, ""), labels, error);
}

GPtrArray *snapshot_prepare(Snapshotter *s, const Ctx *ctx, const char *key, const char *parent,
                            GHashTable *labels, GError **error)
{
	return prepare(s, ctx, SNAPSHOT_ACTIVE, key, parent, labels, error);
}

GPtrArray *snapshot_view(Snapshotter *s, const Ctx *ctx, const char *key, const char *parent,
                         GHashTable *labels, GError **error)
{
	return prepare(s, ctx, SNAPSHOT_VIEW, key, parent, labels, error);
}

bool snapshot_commit(Snapshotter *s, const Ctx *ctx, const char *name, const char *key, const char *parent,
                     GHashTable *labels, GError **error)
{
	return check_labels(labels, error) && check_key(ctx, name, error) && check_key(ctx, key, error) &&
	       s->ops->commit(s, ctx, name, key, str_or(parent, ""), labels, error);
}

bool snapshot_remove(Snapshotter *s, const Ctx *ctx, const char *key, GError **error)
{
	return check_key(ctx, key, error) && s->ops->remove(s, ctx, key, error);
}

bool snapshot_walk(Snapshotter *s, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn, void *data,
                   GError **error)
{
	return cancel_check(ctx->cancel, error) && s->ops->walk(s, ctx, filters, fn, data, error);
}

bool snapshot_cleanup(Snapshotter *s, const Ctx *ctx, GError **error)
{
	return cancel_check(ctx->cancel, error) && s->ops->cleanup(s, ctx, error);
}

void snapshotter_free(Snapshotter *s)
{
	if (s != NULL)
		s->ops->free(s);
}

bool snapshotter_has_capability(Snapshotter *s, const char *capability)
{
	return s->capabilities != NULL && g_strv_contains(s->capabilities, capability);
}

void snapshot_driver_free(SnapshotDriver *driver)
{
	if (driver != NULL)
		driver->ops->free(driver);
}
