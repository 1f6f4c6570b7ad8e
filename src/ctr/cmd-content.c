// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/fs.h"
#include "base/process.h"
#include "ctr/blob.h"
#include "ctr/image.h"
#include "ctr/images.h"
#include "ctr/util.h"
#include "services/content/v1/content.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVICE &containerd__services__content__v1__content__descriptor
typedef Containerd__Services__Content__V1__Info PbInfo;

enum {
	INGEST_CHUNK = 1024 * 1024 // bytes in one message
};

/* go-units' HumanSize: powers of 1000, four digits. */
static char *human_size(int64_t n)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)n;
	size_t u = 0;
	while (v >= 1000 && u + 1 < G_N_ELEMENTS(units)) {
		v /= 1000;
		u++;
	}
	return g_strdup_printf("%.4g%s", v, units[u]);
}

static char *plural(int64_t n, const char *one, const char *many)
{
	return n == 1 ? g_strdup(one) : g_strdup_printf("%" PRId64 " %s", n, many);
}

/* go-units' HumanDuration. */
static char *human_age(TimeNs since)
{
	int64_t s = MAX((time_now() - since) / NS_PER_SEC, 0);
	double hours = (double)s / 3600.0;
	if (s < 1)
		return g_strdup("Less than a second");
	if (s < 60)
		return plural(s, "1 second", "seconds");
	if (s / 60 < 60)
		return s / 60 == 1 ? g_strdup("About a minute") : plural(s / 60, "", "minutes");
	int64_t h = (int64_t)(hours + 0.5);
	if (h == 1)
		return g_strdup("About an hour");
	if (h < 48)
		return plural(h, "", "hours");
	if (h < 24 * 7 * 2)
		return plural(h / 24, "", "days");
	if (h < 24 * 30 * 2)
		return plural(h / 24 / 7, "", "weeks");
	if (h < 24 * 365 * 2)
		return plural(h / 24 / 30, "", "months");
	return plural((int64_t)(hours / 24 / 365), "", "years");
}

static bool need_digest(Cli *cli, GError **error)
{
	return digest_validate(cli_arg(cli, 0), error);
}

/* ---- list, active ---- */

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Content__V1__ListContentRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	g_autoptr(RpcStream) stream = ctr_stream(cli, SERVICE, "List", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	bool quiet = cli_bool(cli, "quiet"), json = ctr_wants_json(cli), ok = true;
	JsonObject *list = json_object_new_array();
	Table *t = table_new_tabs(1, 1);
	if (!quiet && !json)
		table_row(t, "DIGEST\tSIZE\tAGE\tLABELS");
	for (;;) {
		autopb Containerd__Services__Content__V1__ListContentResponse *resp = NULL;
		ok = rpc_stream_recv(stream, &resp, error);
		if (!ok || resp == NULL)
			break;
		for (size_t i = 0; i < resp->n_info; i++) {
			const PbInfo *info = resp->info[i];
			g_autoptr(GHashTable) labels = label_map(info->n_labels, info->labels);
			g_autofree char *text = labels_text(labels, ",");
			g_autofree char *size = human_size(info->size),
			                *age = human_age(time_in(info->created_at));
			if (json)
				json_object_array_add(list, message_to_json(&info->base));
			else if (quiet)
				table_row(t, "%s", info->digest);
			else
				table_row(t, "%s\t%s\t%s\t%s", info->digest, size, age,
				          *text != '\0' ? text : "-");
		}
	}
	if (ok && json)
		print_json(list);
	else
		json_object_put(list);
	if (ok && !json)
		table_print(t);
	else
		table_free(t);
	return ok;
}

static bool active_run(Cli *cli, GError **error)
{
	const char *filters[] = {cli_arg(cli, 0)};
	Containerd__Services__Content__V1__ListStatusesRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__LIST_STATUSES_REQUEST__INIT;
	req.filters = filters;
	req.n_filters = cli_n_args(cli) > 0 ? 1 : 0;
	autopb Containerd__Services__Content__V1__ListStatusesResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "ListStatuses", &req, &resp, error))
		return false;
	if (ctr_wants_json(cli)) {
		print_json_list(resp->n_statuses, (ProtobufCMessage *const *)resp->statuses);
		return true;
	}
	Table *t = table_new_tabs(1, 1);
	table_row(t, "REF\tSIZE\tAGE\t");
	for (size_t i = 0; i < resp->n_statuses; i++) {
		g_autofree char *size = human_size(resp->statuses[i]->offset);
		g_autofree char *age = human_age(time_in(resp->statuses[i]->started_at));
		table_row(t, "%s\t%s\t%s\t", resp->statuses[i]->ref, size, age);
	}
	table_print(t);
	return true;
}

/* ---- get, delete, label ---- */

static bool get_run(Cli *cli, GError **error)
{
	return need_digest(cli, error) && ctr_blob_copy(cli, cli_arg(cli, 0), STDOUT_FILENO, error);
}

static bool delete_run(Cli *cli, GError **error)
{
	GError *first = NULL;
	for (int i = 0; i < cli_n_args(cli); i++) {
		Containerd__Services__Content__V1__DeleteContentRequest req =
		        CONTAINERD__SERVICES__CONTENT__V1__DELETE_CONTENT_REQUEST__INIT;
		req.digest = cli_arg(cli, i);
		autopb ProtobufCMessage *resp = NULL;
		GError *failed = NULL;
		if (digest_validate(req.digest, &failed) &&
		    ctr_call(cli, SERVICE, "Delete", &req, &resp, &failed)) {
			puts(req.digest);
		} else if (error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_error_free(failed);
		} else {
			error_prefix(&failed, "could not delete %s", req.digest);
			if (first == NULL) {
				first = failed;
			} else {
				fprintf(stderr, "ctr: %s\n", failed->message);
				g_error_free(failed);
			}
		}
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

static bool update_labels(Cli *cli, const char *digest, GHashTable *labels, PbInfo **ret,
                          Containerd__Services__Content__V1__UpdateResponse **resp, GError **error)
{
	g_autoptr(GPtrArray) paths = label_paths(labels);
	label_drop_empty(labels);
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__services__content__v1__info__labels_entry__descriptor);
	PbInfo info = CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Containerd__Services__Content__V1__UpdateRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__UPDATE_REQUEST__INIT;
	info.digest = digest;
	info.labels = (void *)entries->pdata;
	info.n_labels = entries->len;
	mask.paths = (char **)paths->pdata;
	mask.n_paths = paths->len;
	req.info = &info;
	req.update_mask = &mask;
	if (!ctr_call(cli, SERVICE, "Update", &req, resp, error))
		return false;
	*ret = (*resp)->info;
	return true;
}

static bool label_run(Cli *cli, GError **error)
{
	if (!need_digest(cli, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	autopb Containerd__Services__Content__V1__UpdateResponse *updated = NULL;
	autopb Containerd__Services__Content__V1__InfoResponse *got = NULL;
	PbInfo *info = NULL;
	if (g_hash_table_size(labels) > 0) {
		if (!update_labels(cli, cli_arg(cli, 0), labels, &info, &updated, error))
			return false;
	} else {
		Containerd__Services__Content__V1__InfoRequest req =
		        CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
		req.digest = cli_arg(cli, 0);
		if (!ctr_call(cli, SERVICE, "Info", &req, &got, error))
			return false;
		info = got->info;
	}
	g_autoptr(GHashTable) all = label_map(info->n_labels, info->labels);
	g_autofree char *text = labels_text(all, ",");
	puts(text);
	return true;
}

/* ---- ingest ---- */

/* stdin as the ingest's data, then the commit. */
static bool ingest(CtrBlob *blob, GError **error)
{
	g_autofree uint8_t *buf = g_malloc(INGEST_CHUNK);
	for (;;) {
		ssize_t n = RETRY_EINTR(read(STDIN_FILENO, buf, INGEST_CHUNK));
		if (n < 0)
			return error_set_errno(error, errno, "read stdin");
		if (n == 0)
			return ctr_blob_commit(blob, NULL, error);
		if (!ctr_blob_write(blob, buf, (size_t)n, error))
			return false;
	}
}

static bool ingest_run(Cli *cli, GError **error)
{
	const char *expected = cli_string(cli, "expected-digest");
	if (*expected != '\0' && !digest_validate(expected, error))
		return false;
	if (*cli_arg(cli, 0) == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "must specify a transaction reference");
	g_autoptr(CtrBlob) blob =
	        ctr_blob_new(cli, cli_arg(cli, 0), cli_int(cli, "expected-size"), expected, error);
	g_autoptr(GError) failed = NULL;
	if (blob == NULL)
		return false;
	if (ingest(blob, &failed) || error_is(failed, CTRD_ERR_ALREADY_EXISTS))
		return true;
	/* what the server refused, as upstream's client says it; a stdin that cannot be read says so itself
	 */
	if (error_is(failed, CTRD_ERR_FAILED_PRECONDITION))
		g_prefix_error(&failed, "failed commit on ref %s: commit failed: ", Q(cli_arg(cli, 0)));
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

/* ---- edit ---- */

/* The editor, by the shell, on the terminal that we have. */
static bool run_editor(const char *editor, const char *path, GError **error)
{
	g_autofree char *command = g_strdup_printf("%s %s", editor, path);
	const char *argv[] = {"sh", "-c", command, NULL};
	pid_t pid = process_spawn(argv, NULL, NULL, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, false, error);
	int status = 0;
	if (pid < 0)
		return false;
	if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
		return error_set_errno(error, errno, "wait for the editor");
	if (status == 0)
		return true;
	g_autofree char *text = process_status_text(status);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s", text);
}

/* The editor may have put a new file in the place of ours: it is opened again. */
static bool put_edited(Cli *cli, const char *path, GError **error)
{
	g_autofree char *ref = g_strconcat("edit-", cli_arg(cli, 0), NULL);
	g_autofree uint8_t *buf = g_malloc(INGEST_CHUNK);
	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	g_autoptr(CtrBlob) blob = ctr_blob_new(cli, ref, 0, "", error);
	if (blob == NULL)
		return false;
	for (;;) {
		ssize_t n = RETRY_EINTR(read(fd, buf, INGEST_CHUNK));
		if (n < 0)
			return error_set_errno(error, errno, "read %s", path);
		if (n == 0)
			break;
		if (!ctr_blob_write(blob, buf, (size_t)n, error))
			return false;
	}
	if (!ctr_blob_commit(blob, NULL, error))
		return error_prefix(error, "commit failed");
	g_autofree char *digest = ctr_blob_digest(blob);
	puts(digest);
	return true;
}

static bool edit_run(Cli *cli, GError **error)
{
	const char *editor = cli_string(cli, "editor");
	if (*cli_string(cli, "validate") != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "validating the edit result not supported");
	if (!need_digest(cli, error))
		return false;
	if (*editor == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "editor is required");
	g_autofree char *path = g_build_filename(
	        g_getenv("XDG_RUNTIME_DIR") != NULL ? g_getenv("XDG_RUNTIME_DIR") : g_get_tmp_dir(),
	        "edit-XXXXXX", NULL);
	int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	bool ok = ctr_blob_copy(cli, cli_arg(cli, 0), fd, error);
	close(fd);
	ok = ok && run_editor(editor, path, error) && put_edited(cli, path, error);
	unlink(path);
	return ok;
}

/* ---- prune ---- */

/* Takes the references off every blob that is not an index or a manifest's, so that layers can go: upstream's
 * `prune references`. */
static bool prune_references_run(Cli *cli, GError **error)
{
	Containerd__Services__Content__V1__ListContentRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_REQUEST__INIT;
	g_autoptr(RpcStream) stream = ctr_stream(cli, SERVICE, "List", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	bool dry = cli_bool(cli, "dry");
	g_autoptr(GPtrArray) digests = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) cleared = g_ptr_array_new_with_free_func((GDestroyNotify)g_hash_table_unref);
	for (;;) {
		autopb Containerd__Services__Content__V1__ListContentResponse *resp = NULL;
		if (!rpc_stream_recv(stream, &resp, error))
			return false;
		if (resp == NULL)
			break;
		for (size_t i = 0; i < resp->n_info; i++) {
			GHashTable *clear = strmap_new();
			for (size_t k = 0; k < resp->info[i]->n_labels; k++) {
				const char *key = resp->info[i]->labels[k]->key;
				if (g_str_has_prefix(key, "containerd.io/gc.ref.content.l."))
					strmap_set(clear, key, "");
			}
			if (g_hash_table_size(clear) > 0) {
				g_ptr_array_add(digests, g_strdup(resp->info[i]->digest));
				g_ptr_array_add(cleared, clear);
			} else {
				g_hash_table_unref(clear);
			}
		}
	}
	for (guint i = 0; i < digests->len; i++) {
		autopb Containerd__Services__Content__V1__UpdateResponse *resp = NULL;
		PbInfo *info = NULL;
		if (!dry && !update_labels(cli, digests->pdata[i], cleared->pdata[i], &info, &resp, error))
			return false;
		puts(digests->pdata[i]);
	}
	if (dry || cli_bool(cli, "async"))
		return true;
	/* a lease that is deleted synchronously makes the collector run */
	g_autofree char *lease = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	return ctr_lease_create(cli, "", 0, none, &lease, error) && ctr_lease_delete(cli, lease, true, error);
}

static const CliFlag edit_flags[] = {
        {"validate", FLAG_STRING, "Validate the result against a format (json, mediatype, etc.)"},
        {"editor", FLAG_STRING, "Select editor (vim, emacs, etc.)", .env = "EDITOR"},
        {0},
};
static const CliFlag ingest_flags[] = {
        {"expected-size", FLAG_INT, "Validate against provided size", .value = "0"},
        {"expected-digest", FLAG_STRING, "Verify content against expected digest"},
        {0},
};
static const CliFlag prune_flags[] = {
        {"async", FLAG_BOOL, "Allow garbage collection to cleanup asynchronously", .value = "false"},
        {"dry", FLAG_BOOL, "Just show updates without applying (enables debug logging)", .value = "false"},
        {0},
};
static const CliCommand active = {
        .name = "active",
        .usage = "Display active transfers",
        .arguments = "[flags] [<regexp>]",
        .flags = {flags_format},
        .run = active_run,
};
static const CliCommand delete_ = {
        .name = "delete",
        .aliases = {"del", "remove", "rm"},
        .usage = "Permanently delete one or more blobs",
        .arguments = "[<digest>, ...]",
        .run = delete_run,
};
static const CliCommand edit = {
        .name = "edit",
        .usage = "Edit a blob and return a new digest",
        .arguments = "[flags] <digest>",
        .flags = {edit_flags},
        .run = edit_run,
};
static const CliCommand get = {
        .name = "get",
        .usage = "Get the data for an object",
        .arguments = "[<digest>, ...]",
        .run = get_run,
};
static const CliCommand ingest_ = {
        .name = "ingest",
        .usage = "Accept content into the store",
        .arguments = "[flags] <key>",
        .flags = {ingest_flags},
        .run = ingest_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List all blobs in the store",
        .arguments = "[flags]",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Add labels to content",
        .arguments = "<digest> [<label>=<value> ...]",
        .run = label_run,
};
static const CliCommand prune_references = {
        .name = "references",
        .usage = "Prunes preference labels from the content store (layers only by default)",
        .flags = {prune_flags},
        .run = prune_references_run,
};
static const CliCommand *const prune_commands[] = {&prune_references, NULL};
static const CliCommand prune = {
        .name = "prune",
        .usage = "Prunes content from the content store",
        .commands = prune_commands,
};
static const CliCommand *const commands[] = {
        &active,
        &delete_,
        &edit,
        &ctr_content_fetch,
        &ctr_content_fetch_object,
        &ctr_content_fetch_blob,
        &get,
        &ingest_,
        &list,
        &ctr_content_push_object,
        &label,
        &prune,
        NULL,
};
const CliCommand cmd_content = {
        .name = "content",
        .usage = "Manage content",
        .commands = commands,
};
