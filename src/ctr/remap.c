// SPDX-License-Identifier: Apache-2.0
/* Upstream client/{container_opts_unix,snapshotter_opts_unix}.go and internal/userns/idmap.go. */
#include "ctr/remap.h"
#include "base/digest.h"
#include "base/json.h"
#include "ctr/container.h"
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "mount/mount.h"
#include "oci/labels.h"
#include "services/introspection/v1/introspection.pb-c.h"
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INVALID_ID UINT32_MAX
#define WALK_FDS 64

typedef struct {
	uint32_t container, host, size;
} IdMap;

typedef struct {
	IdMap *map[2]; // of uids, of gids; sorted
	size_t n[2];
} IdMaps;

static void id_maps_clear(IdMaps *maps)
{
	g_free(maps->map[0]);
	g_free(maps->map[1]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(IdMaps, id_maps_clear)

bool ctr_remap_wanted(Cli *cli)
{
	return *cli_strings(cli, "uidmap") != NULL && *cli_strings(cli, "gidmap") != NULL;
}

static int by_container(const void *a, const void *b)
{
	const IdMap *x = a, *y = b;
	return x->container < y->container ? -1 : x->container > y->container;
}

/* The words were checked when the spec's options were read; here they are numbers. */
static bool parse_maps(char **words, IdMap **ret, size_t *ret_n, GError **error)
{
	size_t n = g_strv_length(words);
	*ret = g_new0(IdMap, n);
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		g_auto(GStrv) parts = g_strsplit(words[i], ":", -1);
		uint64_t v[3];
		if (g_strv_length(parts) != 3)
			return error_set(
			        error, CTRD_ERR_INVALID_ARGUMENT,
			        "user namespace mappings require the format `container-id:host-id:size`");
		for (int k = 0; k < 3; k++)
			if (!parse_u64(parts[k], &v[k]) || v[k] > UINT32_MAX)
				return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
				                 "invalid number for user namespace remapping: %s",
				                 Q(parts[k]));
		(*ret)[i] = (IdMap){(uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2]};
	}
	return true;
}

static bool maps_of(Cli *cli, IdMaps *ret, GError **error)
{
	return parse_maps(cli_strings(cli, "uidmap"), &ret->map[0], &ret->n[0], error) &&
	       parse_maps(cli_strings(cli, "gidmap"), &ret->map[1], &ret->n[1], error);
}

/* false: the id has no place on the host. */
static bool to_host(const IdMaps *maps, int kind, uint32_t id, uint32_t *ret)
{
	for (size_t i = 0; i < maps->n[kind]; i++) {
		const IdMap *m = &maps->map[kind][i];
		uint64_t end = (uint64_t)m->container + m->size,
		         host = (uint64_t)m->host + (id - m->container);
		if (end > INVALID_ID || id < m->container || id >= end)
			continue;
		if (host >= INVALID_ID)
			return false;
		*ret = (uint32_t)host;
		return true;
	}
	return false;
}

/* ---- changing the files ---- */

/* nftw(3) has no argument for these. */
static const IdMaps *walk_maps;
static GError **walk_error;

static int chown_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	uint32_t uid, gid;
	if (type == FTW_DNR || type == FTW_NS)
		return error_set_errno(walk_error, EACCES, "open %s", path), 1;
	if (!to_host(walk_maps, 0, st->st_uid, &uid))
		return error_set(walk_error, CTRD_ERR_UNKNOWN,
		                 "container ID %u cannot be mapped to a host ID", st->st_uid),
		       1;
	if (!to_host(walk_maps, 1, st->st_gid, &gid))
		return error_set(walk_error, CTRD_ERR_UNKNOWN,
		                 "container ID %u cannot be mapped to a host ID", st->st_gid),
		       1;
	if (lchown(path, uid, gid) != 0)
		return error_set_errno(walk_error, errno, "lchown %s", path), 1;
	// chown takes these away
	mode_t special = st->st_mode & (S_ISUID | S_ISGID | S_ISVTX);
	if (!S_ISLNK(st->st_mode) && special != 0 && chmod(path, st->st_mode & 07777) != 0)
		return error_set_errno(walk_error, errno, "chmod %s", path), 1;
	return 0;
}

static bool chown_tree(const char *root, void *data, GError **error)
{
	GError *failed = NULL;
	walk_maps = data;
	walk_error = &failed;
	int r = nftw(root, chown_one, WALK_FDS, FTW_PHYS | FTW_MOUNT);
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	return r == 0 || error_set_errno(error, errno, "walk %s", root);
}

/* ---- the changed snapshot ---- */

static JsonObject *maps_to_json(const IdMaps *maps, int kind)
{
	JsonObject *array = json_object_new_array();
	for (size_t i = 0; i < maps->n[kind]; i++) {
		const IdMap *m = &maps->map[kind][i];
		JsonObject *o = json_object_new_object();
		json_set_int64(o, "containerID", m->container);
		json_set_int64(o, "hostID", m->host);
		json_set_int64(o, "size", m->size);
		json_object_array_add(array, o);
	}
	return array;
}

/* The digest of parent and maps, so that the next container with the same finds it. */
static char *remapped_name(const char *parent, IdMaps *maps)
{
	g_autoptr(JsonObject) o = json_object_new_object();
	JsonObject *id_map = json_object_new_object();
	for (int kind = 0; kind < 2; kind++)
		qsort(maps->map[kind], maps->n[kind], sizeof(IdMap), by_container);
	json_object_object_add(o, "Parent", json_object_new_string(parent));
	json_object_object_add(id_map, "UidMap", maps_to_json(maps, 0));
	json_object_object_add(id_map, "GidMap", maps_to_json(maps, 1));
	json_object_object_add(o, "IDMap", id_map);
	g_autofree char *text = json_to_text(o);
	return digest_bytes(text, strlen(text));
}

static bool commit(Cli *cli, const char *snapshotter, const char *name, const char *key, GError **error)
{
	Containerd__Services__Snapshots__V1__CommitSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__COMMIT_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.name = name;
	req.key = key;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, &containerd__services__snapshots__v1__snapshots__descriptor, "Commit", &req,
	                &resp, error);
}

/* *ret_name: the committed snapshot with changed owners, made where it is not there. */
static bool remapped_parent(Cli *cli, const char *snapshotter, const char *parent, IdMaps *maps,
                            char **ret_name, GError **error)
{
	g_autofree char *name = remapped_name(parent, maps);
	g_autofree char *key = g_strconcat(name, "-remap", NULL);
	g_autoptr(GHashTable) none = strmap_new();
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *prepared = NULL;
	if (!ctr_snapshot_stat(cli, snapshotter, name, &stat, NULL)) {
		if (!ctr_snapshot_prepare(cli, snapshotter, key, parent, none, &prepared, error))
			return false;
		g_autoptr(GPtrArray) mounts = ctr_mounts_in(prepared->n_mounts, prepared->mounts);
		if (!mounts_with_temp(mounts, NULL, chown_tree, maps, error) ||
		    !commit(cli, snapshotter, name, key, error)) {
			ctr_snapshot_remove(cli, snapshotter, key, NULL);
			return false;
		}
	}
	*ret_name = g_steal_pointer(&name);
	return true;
}

/* ---- the snapshotter's own way ---- */

static bool has_capability(const Containerd__Services__Introspection__V1__PluginsResponse *resp,
                           const char *name)
{
	for (size_t i = 0; i < resp->n_plugins; i++)
		for (size_t k = 0; k < resp->plugins[i]->n_capabilities; k++)
			if (g_str_equal(resp->plugins[i]->capabilities[k], name))
				return true;
	return false;
}

typedef enum { REMAP_FAILED, REMAP_LABELS, REMAP_CHOWN } RemapWay;

static RemapWay remap_way(Cli *cli, const char *snapshotter, GError **error)
{
	if (!cli_bool(cli, "remap-labels"))
		return REMAP_CHOWN;
	g_autofree char *filter = g_strdup_printf("type==io.containerd.snapshotter.v1, id==%s", snapshotter);
	const char *filters[] = {filter};
	Containerd__Services__Introspection__V1__PluginsRequest req =
	        CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGINS_REQUEST__INIT;
	autopb Containerd__Services__Introspection__V1__PluginsResponse *resp = NULL;
	req.filters = filters;
	req.n_filters = 1;
	if (!ctr_call(cli, &containerd__services__introspection__v1__introspection__descriptor, "Plugins",
	              &req, &resp, error))
		return REMAP_FAILED;
	if (has_capability(resp, "remap-ids"))
		return REMAP_LABELS;
	if (!has_capability(resp, "only-remap-ids"))
		return REMAP_CHOWN;
	error_set(
	        error, CTRD_ERR_UNKNOWN,
	        "snapshotter %s doesn't support idmap mounts on this host, configure `slow_chown` to allow a "
	        "slower and expensive fallback",
	        Q(snapshotter));
	return REMAP_FAILED;
}

bool ctr_remap_prepare(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                       Containerd__Services__Snapshots__V1__PrepareSnapshotResponse **ret, GError **error)
{
	g_auto(IdMaps) maps = {0};
	g_autoptr(GHashTable) labels = strmap_new();
	if (!maps_of(cli, &maps, error))
		return false;
	RemapWay way = remap_way(cli, snapshotter, error);
	if (way == REMAP_FAILED)
		return false;
	if (way == REMAP_LABELS) {
		g_autofree char *uids = g_strjoinv(",", cli_strings(cli, "uidmap"));
		g_autofree char *gids = g_strjoinv(",", cli_strings(cli, "gidmap"));
		strmap_set(labels, LABEL_SNAPSHOT_UIDMAPPING, uids);
		strmap_set(labels, LABEL_SNAPSHOT_GIDMAPPING, gids);
	}
	for (bool again = way == REMAP_CHOWN;; again = false) {
		g_autofree char *changed = NULL;
		g_autoptr(GError) e = NULL;
		if (way == REMAP_CHOWN && !remapped_parent(cli, snapshotter, parent, &maps, &changed, error))
			return false;
		if (ctr_snapshot_prepare(cli, snapshotter, key, str_or(changed, parent), labels, ret, &e))
			return true;
		/* an earlier container's may go before ours refers to it; a new one is our lease's */
		if (!again || !g_error_matches(e, CTRD_ERROR, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
	}
}
