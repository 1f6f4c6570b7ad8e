// SPDX-License-Identifier: Apache-2.0
/* Checkpoints as images: an index of what CRIU wrote, the container's spec and options, its image and its
 * writable layer. Upstream client/{task,container,container_checkpoint_opts,container_restore_opts}.go. */
#include "ctr/checkpoint.h"
#include "ctr/image.h"
#include "ctr/run.h"
#include "ctr/snapshots.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "services/content/v1/content.pb-c.h"
#include "services/diff/v1/diff.pb-c.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TASKS &containerd__services__tasks__v1__tasks__descriptor
#define ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"
#define ANNOTATION_RUNTIME "io.containerd.checkpoint.runtime"
#define ANNOTATION_SNAPSHOTTER "io.containerd.checkpoint.snapshotter"
#define LEASE_EXPIRY (24 * 3600 * NS_PER_SEC)
#define BLOB_CHUNK (1024 * 1024)

typedef Containerd__Services__Containers__V1__Container PbContainer;

static Index *index_new(void)
{
	Index *index = g_new0(Index, 1);
	index->manifests = descriptors_new();
	index->annotations = strmap_new();
	return index;
}

/* Only for this machine's kind. */
static void index_add_ours(Index *index, Descriptor *d)
{
	d->platform = g_new0(Platform, 1);
	platform_default(d->platform);
	g_clear_pointer(&d->platform->variant, g_free);
	g_ptr_array_add(index->manifests, d);
}

/* ---- blobs ---- */

static bool exchange(RpcStream *stream, const Containerd__Services__Content__V1__WriteContentRequest *req,
                     Containerd__Services__Content__V1__WriteContentResponse **ret, GError **error)
{
	if (!rpc_stream_send(stream, req, error) || !rpc_stream_recv(stream, ret, error))
		return false;
	return *ret != NULL || error_set(error, CTRD_ERR_UNKNOWN, "the server ended the write early");
}

static bool write_chunks(RpcStream *stream, const char *ref, const void *data, size_t len, GHashTable *labels,
                         GError **error)
{
	Containerd__Services__Content__V1__WriteContentRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
	req.ref = ref;
	req.total = (int64_t)len;
	for (size_t at = 0; at < len;) {
		size_t n = MIN(len - at, BLOB_CHUNK);
		autopb Containerd__Services__Content__V1__WriteContentResponse *resp = NULL;
		req.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE;
		req.offset = (int64_t)at;
		req.data = (ProtobufCBinaryData){n, (uint8_t *)data + at};
		if (!exchange(stream, &req, &resp, error))
			return false;
		at += n;
	}
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__content__v1__write_content_request__labels_entry__descriptor);
	autopb Containerd__Services__Content__V1__WriteContentResponse *done = NULL;
	req.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
	req.offset = (int64_t)len;
	req.data = (ProtobufCBinaryData){0};
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	return exchange(stream, &req, &done, error);
}

/* There already is no error. The result is the caller's. */
static Descriptor *blob_write(Cli *cli, const char *media_type, const char *ref, const void *data, size_t len,
                              GHashTable *labels, GError **error)
{
	g_autoptr(RpcStream) stream = ctr_stream(cli, &containerd__services__content__v1__content__descriptor,
	                                         "Write", RPC_BIDI_STREAM, NULL, error);
	g_autoptr(GError) failed = NULL;
	if (stream == NULL)
		return NULL;
	if (!write_chunks(stream, ref, data, len, labels, &failed) &&
	    !error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return NULL;
	}
	g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, len);
	g_autofree char *digest = g_strconcat("sha256:", hex, NULL);
	return descriptor_new(media_type, digest, (int64_t)len);
}

/* The message's bytes as a blob of our kind of machine. */
static bool index_add_message(Cli *cli, Index *index, const char *media_type, const char *ref,
                              const ProtobufCMessage *message, GError **error)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	g_autofree uint8_t *data = g_malloc(MAX(len, 1));
	protobuf_c_message_pack(message, data);
	g_autoptr(GHashTable) none = strmap_new();
	Descriptor *d = blob_write(cli, media_type, ref, data, len, none, error);
	if (d != NULL)
		index_add_ours(index, d);
	return d != NULL;
}

/* The index, with references to its children, and the image that names it. */
static bool index_save(Cli *cli, const Index *index, const char *ref, const char *name, bool is_task,
                       GError **error)
{
	g_autoptr(GHashTable) labels = strmap_new();
	for (guint i = 0; i < index->manifests->len; i++) {
		const Descriptor *d = index->manifests->pdata[i];
		g_autofree char *key = g_strdup_printf("containerd.io/gc.ref.content.%u", i);
		strmap_set(labels, key, d->digest);
	}
	g_autoptr(JsonObject) json = index_to_json(index);
	g_autofree char *text = json_to_text(json);
	g_autoptr(Descriptor) d =
	        blob_write(cli, MEDIA_TYPE_OCI_INDEX, ref, text, strlen(text), labels, error);
	if (d == NULL)
		return false;
	Containerd__Services__Images__V1__Image image = CONTAINERD__SERVICES__IMAGES__V1__IMAGE__INIT;
	Containerd__Types__Descriptor target = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	Containerd__Services__Images__V1__CreateImageRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__CREATE_IMAGE_REQUEST__INIT;
	g_autoptr(GHashTable) image_labels = strmap_new();
	if (is_task)
		strmap_set(image_labels, LABEL_CHECKPOINT, "true");
	g_autoptr(GPtrArray) entries = label_entries(
	        image_labels, &containerd__services__images__v1__image__labels_entry__descriptor);
	target.media_type = d->media_type;
	target.digest = d->digest;
	target.size = d->size;
	image.name = name;
	image.target = &target;
	image.labels = (void *)entries->pdata;
	image.n_labels = entries->len;
	req.image = &image;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, &containerd__services__images__v1__images__descriptor, "Create", &req, &resp,
	                error);
}

/* ---- what a checkpoint is made of ---- */

static bool add_task(Cli *cli, Index *index, const char *id,
                     const Containerd__Runc__V1__CheckpointOptions *options, GError **error)
{
	Containerd__Services__Tasks__V1__CheckpointTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__CHECKPOINT_TASK_REQUEST__INIT;
	autopb Google__Protobuf__Any *any = api_any_pack(options, NULL);
	autopb Containerd__Services__Tasks__V1__CheckpointTaskResponse *resp = NULL;
	req.container_id = id;
	req.options = any;
	if (!ctr_call(cli, TASKS, "Checkpoint", &req, &resp, error))
		return false;
	for (size_t i = 0; i < resp->n_descriptors; i++) {
		const Containerd__Types__Descriptor *d = resp->descriptors[i];
		index_add_ours(index, descriptor_new(d->media_type, d->digest, d->size));
	}
	return true;
}

static bool add_image(Cli *cli, Index *index, const char *name, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *resp = NULL;
	if (!ctr_image_get(cli, name, &resp, error))
		return false;
	g_ptr_array_add(index->manifests, ctr_image_target(resp->image));
	return true;
}

/* The writable layer: what the snapshot has that its parent has not. */
static bool add_rw(Cli *cli, Index *index, const PbContainer *c, GError **error)
{
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
	autopb Containerd__Services__Snapshots__V1__ViewSnapshotResponse *lower = NULL;
	autopb Containerd__Services__Snapshots__V1__MountsResponse *upper = NULL;
	if (!ctr_snapshot_stat(cli, c->snapshotter, c->snapshot_key, &stat, error))
		return false;
	const char *parent = stat->info->parent;
	g_autofree char *view =
	        g_strdup_printf("%s-parent-view-%" G_GINT64_FORMAT, parent, g_get_real_time());
	if (!ctr_snapshot_view(cli, c->snapshotter, view, parent, &lower, error))
		return false;
	Containerd__Services__Diff__V1__DiffRequest req = CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__INIT;
	autopb Containerd__Services__Diff__V1__DiffResponse *resp = NULL;
	g_autofree char *ref = g_strdup_printf("checkpoint-rw-%s", c->snapshot_key);
	bool ok = ctr_snapshot_mounts(cli, c->snapshotter, c->snapshot_key, &upper, error);
	if (ok) {
		req.left = lower->mounts;
		req.n_left = lower->n_mounts;
		req.right = upper->mounts;
		req.n_right = upper->n_mounts;
		req.ref = ref;
		ok = ctr_call(cli, &containerd__services__diff__v1__diff__descriptor, "Diff", &req, &resp,
		              error);
	}
	ctr_snapshot_remove(cli, c->snapshotter, view, NULL);
	if (ok)
		index_add_ours(index,
		               descriptor_new(resp->diff->media_type, resp->diff->digest, resp->diff->size));
	return ok;
}

/* ---- a task that stands still meanwhile ---- */

static bool task_status(Cli *cli, const char *id, int *ret, GError **error)
{
	Containerd__Services__Tasks__V1__GetRequest req = CONTAINERD__SERVICES__TASKS__V1__GET_REQUEST__INIT;
	autopb Containerd__Services__Tasks__V1__GetResponse *resp = NULL;
	req.container_id = id;
	if (!ctr_call(cli, TASKS, "Get", &req, &resp, error))
		return false;
	*ret = (int)resp->process->status;
	return true;
}

static bool task_pause(Cli *cli, const char *id, GError **error)
{
	Containerd__Services__Tasks__V1__PauseTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__PAUSE_TASK_REQUEST__INIT;
	autopb ProtobufCMessage *resp = NULL;
	req.container_id = id;
	return ctr_call(cli, TASKS, "Pause", &req, &resp, error);
}

static bool task_resume(Cli *cli, const char *id, GError **error)
{
	Containerd__Services__Tasks__V1__ResumeTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__RESUME_TASK_REQUEST__INIT;
	autopb ProtobufCMessage *resp = NULL;
	req.container_id = id;
	return ctr_call(cli, TASKS, "Resume", &req, &resp, error);
}

/* ---- tasks checkpoint ---- */

static bool checkpoint_task(Cli *cli, const PbContainer *c, const char *name, GError **error)
{
	Containerd__Runc__V1__CheckpointOptions options = CONTAINERD__RUNC__V1__CHECKPOINT_OPTIONS__INIT;
	g_autoptr(Index) index = index_new();
	options.exit = cli_bool(cli, "exit");
	options.image_path = cli_string(cli, "image-path");
	options.work_path = cli_string(cli, "work-path");
	if (!add_task(cli, index, c->id, &options, error))
		return false;
	if (*options.image_path != '\0')
		return true;
	if (!str_empty(c->image)) {
		if (!add_image(cli, index, c->image, error))
			return false;
		strmap_set(index->annotations, "image.name", c->image);
	}
	if (!str_empty(c->snapshot_key) && !add_rw(cli, index, c, error))
		return false;
	return index_save(cli, index, c->id, name, true, error) && puts(name) >= 0;
}

/* What is made on the way is a lease's until the image refers to it. */
typedef bool (*LeasedFn)(Cli *cli, const PbContainer *c, const char *name, GError **error);

static bool with_lease(Cli *cli, LeasedFn fn, const PbContainer *c, const char *name, GError **error)
{
	g_autofree char *lease = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	if (!ctr_lease_create(cli, "", LEASE_EXPIRY, none, &lease, error))
		return false;
	ctr_set_lease(cli, lease);
	bool ok = fn(cli, c, name, error);
	ctr_set_lease(cli, NULL);
	ctr_lease_delete(cli, lease, false, NULL);
	return ok;
}

static char *checkpoint_name(const char *id)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%m-%d-%Y-%H:%M:%S");
	return g_strdup_printf("containerd.io/checkpoint/%s:%s", id, when);
}

static bool tasks_checkpoint_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0);
	if (*id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
	autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
	int status;
	if (!ctr_container_get(cli, id, &resp, error) || !task_status(cli, id, &status, error))
		return false;
	bool pause = status != CONTAINERD__V1__TYPES__STATUS__PAUSED;
	if (pause && !task_pause(cli, id, error))
		return false;
	g_autofree char *name = checkpoint_name(id);
	bool ok = with_lease(cli, checkpoint_task, resp->container, name, error);
	if (pause) // with --exit there is nothing to resume
		task_resume(cli, id, NULL);
	return ok;
}

/* ---- containers checkpoint ---- */

static bool add_runtime(Cli *cli, Index *index, const PbContainer *c, GError **error)
{
	g_autofree char *ref = g_strdup_printf("%s-runtime-options", c->id);
	if (c->runtime == NULL || c->runtime->options == NULL || c->runtime->options->value.len == 0)
		return true;
	return index_add_message(cli, index, MEDIA_TYPE_CHECKPOINT_RUNTIME_OPTIONS, ref,
	                         &c->runtime->options->base, error);
}

static bool add_task_and_options(Cli *cli, Index *index, const char *id, GError **error)
{
	Containerd__Runc__V1__CheckpointOptions options = CONTAINERD__RUNC__V1__CHECKPOINT_OPTIONS__INIT;
	options.file_locks = true;
	autopb Google__Protobuf__Any *any = api_any_pack(&options, NULL);
	g_autofree char *ref = g_strdup_printf("%s-checkpoint-options", id);
	return add_task(cli, index, id, &options, error) &&
	       index_add_message(cli, index, MEDIA_TYPE_CHECKPOINT_OPTIONS, ref, &any->base, error);
}

static bool checkpoint_container(Cli *cli, const PbContainer *c, const char *name, GError **error)
{
	g_autoptr(Index) index = index_new();
	strmap_set(index->annotations, ANNOTATION_REF_NAME, c->image);
	strmap_set(index->annotations, ANNOTATION_RUNTIME, c->runtime != NULL ? c->runtime->name : "");
	strmap_set(index->annotations, ANNOTATION_SNAPSHOTTER, c->snapshotter);
	g_autofree char *ref = g_strconcat(c->id, "index", NULL);
	return add_runtime(cli, index, c, error) &&
	       (!cli_bool(cli, "image") || add_image(cli, index, c->image, error)) &&
	       (!cli_bool(cli, "rw") || add_rw(cli, index, c, error)) &&
	       (!cli_bool(cli, "task") || add_task_and_options(cli, index, c->id, error)) &&
	       index_save(cli, index, ref, name, false, error);
}

static bool ids(Cli *cli, const char **ret_id, const char **ret_ref, GError **error)
{
	*ret_id = cli_arg(cli, 0);
	*ret_ref = cli_arg(cli, 1);
	if (**ret_id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
	return **ret_ref != '\0' || error_set(error, CTRD_ERR_INVALID_ARGUMENT, "ref must be provided");
}

static bool containers_checkpoint_run(Cli *cli, GError **error)
{
	const char *id, *ref;
	autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	g_autoptr(GError) failed = NULL;
	int status;
	if (!ids(cli, &id, &ref, error) || !ctr_container_get(cli, id, &resp, error))
		return false;
	if (str_empty(resp->container->image))
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "container not created from an image");
	if (!ctr_image_get(cli, resp->container->image, &image, error))
		return error_prefix(error, "failed to get image %s for container", resp->container->image);
	bool task = task_status(cli, id, &status, &failed);
	if (!task && !error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (task && !task_pause(cli, id, error))
		return false;
	bool ok = with_lease(cli, checkpoint_container, resp->container, ref, error);
	if (task && !task_resume(cli, id, &failed))
		fprintf(stderr, "ctr: error resuming task: %s\n", failed->message);
	return ok;
}

/* ---- containers restore ---- */

static const Descriptor *index_find(const Index *index, const char *media_type)
{
	for (guint i = 0; i < index->manifests->len; i++) {
		const Descriptor *d = index->manifests->pdata[i];
		if (g_str_equal(d->media_type, media_type))
			return d;
	}
	return NULL;
}

static Index *index_load(Cli *cli, const char *ref, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *resp = NULL;
	g_autofree char *text = NULL;
	size_t len;
	if (!ctr_image_get(cli, ref, &resp, error) ||
	    !ctr_blob_read(cli, resp->image->target->digest, &text, &len, error))
		return NULL;
	return index_parse(text, len, resp->image->target->media_type, error);
}

/* A blob that is an Any. *ret NULL where the index has none of the kind. */
static bool any_load(Cli *cli, const Index *index, const char *media_type, Google__Protobuf__Any **ret,
                     const char *what, GError **error)
{
	const Descriptor *d = index_find(index, media_type);
	g_autofree char *data = NULL;
	size_t len;
	*ret = NULL;
	if (d == NULL)
		return true;
	if (!ctr_blob_read(cli, d->digest, &data, &len, error))
		return error_prefix(error, "unable to read checkpoint %s", what);
	*ret = (Google__Protobuf__Any *)api_unpack(&google__protobuf__any__descriptor, NULL, data, len,
	                                           error);
	return *ret != NULL;
}

/* A snapshot of the image, in which the writable layer is applied where that is asked for. */
static bool restore_snapshot(Cli *cli, const Index *index, const char *image_name, CtrContainer *c,
                             GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *prepared = NULL;
	g_autofree char *chain_id = NULL;
	bool unpacked;
	if (!ctr_image_get(cli, image_name, &image, error))
		return false;
	g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
	g_autoptr(Descriptor) target = ctr_image_target(image->image);
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
	g_autoptr(GHashTable) none = strmap_new();
	const char *snapshotter = strmap_get(index->annotations, ANNOTATION_SNAPSHOTTER);
	if (m == NULL || !ctr_image_unpacked(cli, m, snapshotter, &unpacked, &chain_id, error) ||
	    !ctr_snapshot_prepare(cli, snapshotter, c->id, chain_id, none, &prepared, error))
		return false;
	c->snapshotter = g_strdup(snapshotter);
	c->snapshot_key = g_strdup(c->id);
	if (!cli_bool(cli, "rw"))
		return true;
	const Descriptor *rw = index_find(index, MEDIA_TYPE_OCI_LAYER_GZIP);
	if (rw == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "media type not found");
	Containerd__Services__Diff__V1__ApplyRequest req =
	        CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
	Containerd__Types__Descriptor d = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	autopb ProtobufCMessage *resp = NULL;
	d.media_type = rw->media_type;
	d.digest = rw->digest;
	d.size = rw->size;
	req.diff = &d;
	req.mounts = prepared->mounts;
	req.n_mounts = prepared->n_mounts;
	return ctr_call(cli, &containerd__services__diff__v1__diff__descriptor, "Apply", &req, &resp, error);
}

static bool restore_record(Cli *cli, const Index *index, const char *image_name, const CtrContainer *c,
                           GError **error)
{
	Containerd__Services__Containers__V1__CreateContainerRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__CREATE_CONTAINER_REQUEST__INIT;
	PbContainer out = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__INIT;
	Containerd__Services__Containers__V1__Container__Runtime runtime =
	        CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__RUNTIME__INIT;
	autopb Google__Protobuf__Any *options = NULL;
	autopb Google__Protobuf__Any *spec = NULL;
	autopb ProtobufCMessage *resp = NULL;
	if (!any_load(cli, index, MEDIA_TYPE_CHECKPOINT_CONFIG, &spec, "config", error) ||
	    !any_load(cli, index, MEDIA_TYPE_CHECKPOINT_RUNTIME_OPTIONS, &options, "runtime", error))
		return false;
	if (spec == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "media type not found");
	runtime.name = strmap_get(index->annotations, ANNOTATION_RUNTIME);
	runtime.options = options;
	out.id = c->id;
	out.image = image_name;
	out.runtime = &runtime;
	out.spec = spec;
	out.snapshotter = c->snapshotter;
	out.snapshot_key = c->snapshot_key;
	req.container = &out;
	return ctr_call(cli, &containerd__services__containers__v1__containers__descriptor, "Create", &req,
	                &resp, error);
}

/* Leaves neither snapshot nor record after a failure. */
static bool restore_container(Cli *cli, const Index *index, CtrContainer *c, GError **error)
{
	const char *image =
	        index->annotations != NULL ? strmap_get(index->annotations, ANNOTATION_REF_NAME) : NULL;
	if (str_empty(image))
		return error_set(error, CTRD_ERR_UNKNOWN, "image name not found in index");
	if (str_empty(strmap_get(index->annotations, ANNOTATION_SNAPSHOTTER)))
		return error_set(error, CTRD_ERR_UNKNOWN, "snapshotter not found in index");
	if (strmap_get(index->annotations, ANNOTATION_RUNTIME) == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "runtime not found in index");
	if (restore_snapshot(cli, index, image, c, error) && restore_record(cli, index, image, c, error))
		return true;
	if (c->snapshot_key != NULL)
		ctr_snapshot_remove(cli, c->snapshotter, c->snapshot_key, NULL);
	return false;
}

static bool containers_restore_run(Cli *cli, GError **error)
{
	const char *id, *ref;
	if (!ids(cli, &id, &ref, error))
		return false;
	g_autoptr(Index) index = index_load(cli, ref, error);
	if (index == NULL)
		return false;
	const Descriptor *live = index_find(index, MEDIA_TYPE_CHECKPOINT);
	if (cli_bool(cli, "live") && live == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "checkpoint not found in index %s", ref);
	g_auto(CtrContainer) made = {.id = g_strdup(id)};
	g_auto(CtrContainer) c = {0};
	g_autofree char *lease = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	if (!ctr_lease_create(cli, "", LEASE_EXPIRY, none, &lease, error))
		return false;
	ctr_set_lease(cli, lease);
	bool ok = restore_container(cli, index, &made, error);
	ctr_set_lease(cli, NULL);
	ctr_lease_delete(cli, lease, false, NULL);
	if (!ok || !ctr_container_load(cli, id, &c, error))
		return false;
	const CtrRun run = {.detach = !c.terminal, .checkpoint = cli_bool(cli, "live") ? live : NULL};
	return ctr_run_task(cli, &c, &run, error);
}

/* ---- the commands ---- */

static const CliFlag task_flags[] = {
        {"exit", FLAG_BOOL, "Stop the container after the checkpoint", .value = "false"},
        {"image-path", FLAG_STRING, "Path to criu image files"},
        {"work-path", FLAG_STRING, "Path to criu work files and logs"},
        {0},
};
static const CliFlag container_flags[] = {
        {"rw", FLAG_BOOL, "Include the rw layer in the checkpoint", .value = "false"},
        {"image", FLAG_BOOL, "Include the image in the checkpoint", .value = "false"},
        {"task", FLAG_BOOL, "Checkpoint container task", .value = "false"},
        {0},
};
static const CliFlag restore_flags[] = {
        {"rw", FLAG_BOOL, "Restore the rw layer from the checkpoint", .value = "false"},
        {"live", FLAG_BOOL, "Restore the runtime and memory data from the checkpoint", .value = "false"},
        {0},
};
const CliCommand ctr_tasks_checkpoint = {
        .name = "checkpoint",
        .aliases = {"c"},
        .usage = "Checkpoint a container",
        .arguments = "[flags] CONTAINER",
        .flags = {task_flags},
        .run = tasks_checkpoint_run,
};
const CliCommand ctr_containers_checkpoint = {
        .name = "checkpoint",
        .usage = "Checkpoint a container",
        .arguments = "CONTAINER REF",
        .flags = {container_flags},
        .run = containers_checkpoint_run,
};
const CliCommand ctr_containers_restore = {
        .name = "restore",
        .usage = "Restore a container from checkpoint",
        .arguments = "CONTAINER REF",
        .flags = {restore_flags, flags_task, flags_runtime},
        .run = containers_restore_run,
};
