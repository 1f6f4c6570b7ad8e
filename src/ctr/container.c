// SPDX-License-Identifier: Apache-2.0
/* A container from flags: its snapshot, spec and record; upstream client/container_opts*.go. */
#include "ctr/container.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "ctr/image.h"
#include "ctr/remap.h"
#include "ctr/snapshots.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include "mount/mount.h"
#include "oci/labels.h"
#include "oci/runtime-spec.h"
#include "types/runtimeoptions/v1/api.pb-c.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define RUNC_V2 "io.containerd.runc.v2"

const CliFlag flags_runtime[] = {
        {"runtime", FLAG_STRING, "Runtime name or absolute path to runtime binary", .value = RUNC_V2},
        {"runtime-config-path", FLAG_STRING, "Optional runtime config path"},
        {"runc-binary", FLAG_STRING, "Specify runc-compatible binary"},
        {"runc-root", FLAG_STRING, "Specify runc-compatible root"},
        {"runc-systemd-cgroup", FLAG_BOOL, "Start runc with systemd cgroup manager", .value = "false"},
        {0},
};

void ctr_container_clear(CtrContainer *c)
{
	g_clear_pointer(&c->id, g_free);
	g_clear_pointer(&c->snapshotter, g_free);
	g_clear_pointer(&c->snapshot_key, g_free);
}

bool ctr_runc_options(Cli *cli, Containerd__Runc__V1__Options *o)
{
	o->binary_name = cli_string(cli, "runc-binary");
	o->root = cli_string(cli, "runc-root");
	o->systemd_cgroup = cli_bool(cli, "runc-systemd-cgroup");
	return *o->binary_name != '\0' || *o->root != '\0' || o->systemd_cgroup;
}

bool ctr_runtime_options(Cli *cli, Google__Protobuf__Any **ret, GError **error)
{
	const char *runtime = cli_string(cli, "runtime"), *config = cli_string(cli, "runtime-config-path");
	Containerd__Runc__V1__Options runc = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	bool given = ctr_runc_options(cli, &runc);
	*ret = NULL;
	// a path may well be our own shim
	if (g_str_equal(runtime, RUNC_V2) || (given && *runtime == '/')) {
		*ret = api_any_pack(&runc, NULL);
		return true;
	}
	if (*runc.binary_name != '\0' || runc.systemd_cgroup)
		return error_set(
		        error, CTRD_ERR_INVALID_ARGUMENT,
		        "specifying runc-binary and runc-systemd-cgroup is only supported for %s runtime",
		        Q(RUNC_V2));
	if (*config != '\0') {
		Runtimeoptions__V1__Options options = RUNTIMEOPTIONS__V1__OPTIONS__INIT;
		options.config_path = config;
		*ret = api_any_pack(&options, NULL);
	}
	return true;
}

/* ---- image and snapshot ---- */

typedef struct {
	Containerd__Services__Images__V1__GetImageResponse *image;
	ImageConfig *config;
	char *chain_id;
} Source;

static void source_clear(Source *s)
{
	if (s->image != NULL)
		protobuf_c_message_free_unpacked(&s->image->base, NULL);
	image_config_free(s->config);
	g_free(s->chain_id);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Source, source_clear)

/* Finds the image and sees to it that it is unpacked. */
static bool source_load(Cli *cli, const char *ref, const char *snapshotter, Source *s, GError **error)
{
	g_auto(Platform) platform = {0};
	const char *ps = cli_string(cli, "platform");
	if ((*ps != '\0' && !platform_parse(ps, &platform, error)) ||
	    !ctr_image_get(cli, ref, &s->image, error))
		return false;
	g_autoptr(PlatformMatcher) matcher =
	        *ps != '\0' ? platform_matcher_only(&platform) : platform_matcher_default();
	g_autoptr(Descriptor) target = ctr_image_target(s->image->image);
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
	bool unpacked = false;
	if (m == NULL || !ctr_image_unpacked(cli, m, snapshotter, &unpacked, &s->chain_id, error))
		return false;
	if (!unpacked && !ctr_image_unpack(cli, m, snapshotter, cli_bool(cli, "sync-fs"), error))
		return false;
	s->config = ctr_image_config(cli, m, error);
	return s->config != NULL;
}

/* The image's labels that are fit for a container, under those of the command line. What only containerd and
 * CRI may say is left out: CVE-2026-53488. */
static GHashTable *container_labels(Cli *cli, const Source *s)
{
	GHashTable *labels = strmap_new();
	GHashTableIter iter;
	gpointer key, value;
	if (s->config != NULL) {
		g_hash_table_iter_init(&iter, s->config->labels);
		while (g_hash_table_iter_next(&iter, &key, &value)) {
			if (g_str_has_prefix(key, "containerd.io/") ||
			    g_str_has_prefix(key, "io.cri-containerd"))
				fprintf(stderr, "ctr: the image's label %s is reserved and left out\n",
				        (char *)key);
			else if (label_validate(key, value, NULL))
				strmap_set(labels, key, value);
			else
				fprintf(stderr,
				        "ctr: unable to add image label with key %s to the container\n",
				        (char *)key);
		}
		strmap_set(labels, "io.containerd.image.config.stop-signal",
		           str_empty(s->config->stop_signal) ? "SIGTERM" : s->config->stop_signal);
	}
	g_autoptr(GHashTable) image = s->image != NULL
	                                      ? label_map(s->image->image->n_labels, s->image->image->labels)
	                                      : strmap_new();
	g_autoptr(GHashTable) own = label_words(cli_strings(cli, "label"));
	GHashTable *const more[] = {image, own};
	for (size_t i = 0; i < G_N_ELEMENTS(more); i++) {
		g_hash_table_iter_init(&iter, more[i]);
		while (g_hash_table_iter_next(&iter, &key, &value))
			strmap_set(labels, key, value);
	}
	return labels;
}

/* ---- users ---- */

typedef struct {
	JsonObject *spec;
	const char *user;
} SetUser;

static bool set_user_in(const char *root, void *data, GError **error)
{
	const SetUser *s = data;
	autofd fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", root);
	return spec_set_user(s->spec, s->user, fd, error);
}

bool ctr_set_user(JsonObject *spec, const char *user, const CtrRootfs *rootfs, GError **error)
{
	SetUser s = {.spec = spec, .user = user};
	if (rootfs->mounts != NULL)
		return mounts_with_readonly_temp(rootfs->mounts, NULL, set_user_in, &s, error);
	return rootfs->root != NULL ? set_user_in(rootfs->root, &s, error)
	                            : spec_set_user(spec, user, -1, error);
}

GPtrArray *ctr_mounts_in(size_t n, Containerd__Types__Mount *const *in)
{
	GPtrArray *out = mounts_new();
	for (size_t i = 0; i < n; i++) {
		g_autofree const char **options = g_new0(const char *, in[i]->n_options + 1);
		for (size_t k = 0; k < in[i]->n_options; k++)
			options[k] = in[i]->options[k];
		g_ptr_array_add(out, mount_new(in[i]->type, in[i]->source, in[i]->target, options));
	}
	return out;
}

/* ---- spec ---- */

static bool dump_config(Cli *cli, JsonObject *spec, GError **error)
{
	const char *path = cli_string(cli, "dump-config");
	if (*path == '\0')
		return !cli_is_set(cli, "dump-config") ||
		       error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "file name is required with --dump-config");
	g_autofree char *text = json_to_text_pretty(spec);
	return file_write_atomic(path, text, strlen(text), 0644, false, error);
}

/* ---- the record ---- */

static bool create_record(Cli *cli, const CtrContainer *c, const char *image, GHashTable *labels,
                          JsonObject *spec, GError **error)
{
	Containerd__Services__Containers__V1__CreateContainerRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__CREATE_CONTAINER_REQUEST__INIT;
	Containerd__Services__Containers__V1__Container out =
	        CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__INIT;
	Containerd__Services__Containers__V1__Container__Runtime runtime =
	        CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__RUNTIME__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	g_autofree char *json = json_to_text(spec);
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__containers__v1__container__labels_entry__descriptor);
	autopb Google__Protobuf__Any *runtime_options = NULL;
	// runc maps machine.slice:foo:deadbeef to /machine.slice/foo-deadbeef.scope
	if (cli_bool(cli, "runc-systemd-cgroup") && *cli_string(cli, "cgroup") == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "option --runc-systemd-cgroup requires --cgroup to be set, e.g. "
		                 "\"machine.slice:foo:deadbeef\"");
	if (!ctr_runtime_options(cli, &runtime_options, error))
		return false;
	any.type_url = (char *)SPEC_TYPE_URL;
	any.value = (ProtobufCBinaryData){strlen(json), (uint8_t *)json};
	runtime.name = cli_string(cli, "runtime");
	runtime.options = runtime_options;
	out.id = c->id;
	out.image = image;
	out.labels = (void *)entries->pdata;
	out.n_labels = entries->len;
	out.runtime = &runtime;
	out.spec = &any;
	out.snapshotter = str_or(c->snapshotter, "");
	out.snapshot_key = str_or(c->snapshot_key, "");
	out.sandbox = cli_string(cli, "sandbox");
	req.container = &out;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, &containerd__services__containers__v1__containers__descriptor, "Create", &req,
	                &resp, error);
}

/* Arguments: with --config the id alone, else image (or rootfs), id, command. */
static bool arguments(Cli *cli, const char **ret_ref, const char **ret_id, char ***ret_args, GError **error)
{
	bool config = cli_is_set(cli, "config");
	*ret_ref = config ? "" : cli_arg(cli, 0);
	*ret_id = cli_arg(cli, config ? 0 : 1);
	*ret_args = cli_args(cli) + MIN(config ? 1 : 2, cli_n_args(cli));
	if (config && cli_n_args(cli) > 1)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "with spec config file, only container id should be provided");
	if (!config && **ret_ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "image ref must be provided");
	if (**ret_id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
	return true;
}

static bool has_image(Cli *cli)
{
	return !cli_is_set(cli, "config") && !cli_bool(cli, "rootfs");
}

static bool make(Cli *cli, CtrContainer *c, const char *ref, char **args, GError **error)
{
	g_auto(Source) source = {0};
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *prepared = NULL;
	bool image = has_image(cli);
	if (image) {
		g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "snapshotter-label"));
		const char *snapshotter = ctr_snapshotter(cli);
		if (!source_load(cli, ref, snapshotter, &source, error) ||
		    !(ctr_remap_wanted(cli)
		              ? ctr_remap_prepare(cli, snapshotter, c->id, source.chain_id, &prepared, error)
		              : ctr_snapshot_prepare(cli, snapshotter, c->id, source.chain_id, labels,
		                                     &prepared, error)))
			return false;
		c->snapshotter = g_strdup(snapshotter);
		c->snapshot_key = g_strdup(c->id);
	}
	g_autoptr(GPtrArray) mounts =
	        prepared != NULL ? ctr_mounts_in(prepared->n_mounts, prepared->mounts) : NULL;
	CtrRootfs rootfs = {.root = cli_bool(cli, "rootfs") ? ref : NULL, .mounts = mounts};
	g_autoptr(JsonObject) spec = ctr_spec_build(cli, c->id, source.config, &rootfs, args, error);
	if (spec == NULL)
		return false;
	ctr_spec_io_owner(spec, &c->io_uid, &c->io_gid);
	bool terminal = false;
	json_get_bool(json_get_object(spec, "process"), "terminal", &terminal);
	c->terminal = terminal;
	g_autoptr(GHashTable) labels = container_labels(cli, &source);
	return dump_config(cli, spec, error) && create_record(cli, c, image ? ref : "", labels, spec, error);
}

bool ctr_container_create(Cli *cli, CtrContainer *ret, GError **error)
{
	const char *ref = NULL, *id = NULL;
	char **args = NULL;
	if (!arguments(cli, &ref, &id, &args, error))
		return false;
	ret->id = g_strdup(id);
	if (!has_image(cli)) // then there is nothing but the record
		return make(cli, ret, ref, args, error);
	/* everything made on the way is the lease's until the record refers to it */
	if (!ctr_lease_hold(cli, error))
		return false;
	bool ok = make(cli, ret, ref, args, error);
	if (!ok && ret->snapshot_key != NULL)
		ctr_snapshot_remove(cli, ret->snapshotter, ret->snapshot_key, NULL);
	ctr_lease_release(cli);
	return ok;
}

bool ctr_container_load(Cli *cli, const char *id, CtrContainer *ret, GError **error)
{
	autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
	if (!ctr_container_get(cli, id, &resp, error))
		return false;
	const Containerd__Services__Containers__V1__Container *c = resp->container;
	ret->id = g_strdup(id);
	if (!str_empty(c->snapshot_key)) {
		ret->snapshot_key = g_strdup(c->snapshot_key);
		ret->snapshotter = g_strdup(c->snapshotter);
	}
	g_autoptr(JsonObject) spec =
	        c->spec != NULL ? json_parse((const char *)c->spec->value.data, c->spec->value.len, 0, error)
	                        : NULL;
	if (c->spec != NULL && spec == NULL)
		return false;
	ctr_spec_io_owner(spec, &ret->io_uid, &ret->io_gid);
	bool terminal = false;
	json_get_bool(json_get_object(spec, "process"), "terminal", &terminal);
	ret->terminal = terminal;
	return true;
}
