// SPDX-License-Identifier: Apache-2.0
#include "transfer/verifier.h"
#include "base/error.h"
#include "base/log.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

enum {
	OUTPUT_MAX = 32 * 1024,
};

struct ImageVerifier {
	char *dir;
	int64_t max, timeout_ns;
};

ImageVerifier *image_verifier_bindir_new(const char *dir, int64_t max, int64_t timeout_ns)
{
	ImageVerifier *v = g_new0(ImageVerifier, 1);
	v->dir = g_strdup(dir);
	v->max = max;
	v->timeout_ns = timeout_ns;
	return v;
}

void image_verifier_free(ImageVerifier *v)
{
	if (v == NULL)
		return;
	g_free(v->dir);
	g_free(v);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in the directory, sorted. NULL without error: it is not there. */
static GPtrArray *list_dir(const char *dir, GError **error)
{
	g_autoptr(GError) e = NULL;
	g_autoptr(GDir) d = g_dir_open(dir, 0, &e);
	if (d == NULL) {
		if (!g_error_matches(e, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			error_set(error, CTRD_ERR_UNKNOWN, "failed to list directory contents: open %s: %s",
			          dir,
			          e->code == G_FILE_ERROR_NOTDIR ? "not a directory" : "permission denied");
		return NULL;
	}
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	const char *name;
	while ((name = g_dir_read_name(d)) != NULL)
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, by_name);
	return names;
}

static void log_stderr(const char *bin, char *text)
{
	g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
	for (size_t i = 0; lines[i] != NULL; i++)
		log_debug(lines[i], "image_verifier", bin, "stream", "stderr", NULL);
}

/* What it said, without the space around it. */
static char *reason_of(const ProcessResult *r)
{
	g_autofree char *text = g_strndup(r->out, MIN(r->out_len, OUTPUT_MAX));
	g_autofree char *valid = g_utf8_make_valid(g_strstrip(text), -1);
	return g_strconcat(valid, r->out_len > OUTPUT_MAX ? "(stdout truncated)" : "", NULL);
}

static bool run(const ImageVerifier *v, const char *bin, const char *name, const Descriptor *desc,
                int *ret_code, char **ret_reason, GError **error)
{
	g_autofree char *path = g_build_filename(v->dir, bin, NULL);
	g_autoptr(JsonObject) json = descriptor_to_json(desc);
	g_autofree char *text = json_to_text(json);
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	g_autoptr(GBytes) input = g_bytes_new(line, strlen(line));
	const char *const argv[] = {path,
	                            "-name",
	                            name,
	                            "-digest",
	                            desc->digest,
	                            "-stdin-media-type",
	                            "application/vnd.oci.descriptor.v1+json",
	                            NULL};
	ProcessSpec spec = {
	        .argv = argv,
	        .stdin_data = input,
	        .timeout_ns = v->timeout_ns,
	        .max_output = OUTPUT_MAX + 1,
	};
	g_auto(ProcessResult) r = {0};
	g_autoptr(GError) e = NULL;
	bool ok = process_run(&spec, &r, &e);
	if (r.err != NULL)
		log_stderr(bin, r.err);
	if (!ok && !r.timed_out) {
		g_propagate_error(error, g_steal_pointer(&e));
		return error_prefix(error, "starting process");
	}
	if (!WIFEXITED(r.status) || !ok) {
		g_autofree char *status = process_status_text(r.status);
		return error_set(error, CTRD_ERR_UNKNOWN, "waiting on command to exit: %s", status);
	}
	*ret_code = WEXITSTATUS(r.status);
	*ret_reason = reason_of(&r);
	return true;
}

bool image_verifier_verify(ImageVerifier *v, Cancel *cancel, const char *name, const Descriptor *desc,
                           bool *ret_ok, char **ret_reason, GError **error)
{
	g_autoptr(GError) e = NULL;
	g_autoptr(GPtrArray) bins = list_dir(v->dir, &e);
	if (e != NULL) {
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	*ret_ok = true;
	if (bins == NULL || bins->len == 0) {
		*ret_reason = bins == NULL
		                      ? g_strdup_printf("image verifier directory %s does not exist", v->dir)
		                      : g_strdup_printf("no image verifier binaries found in %s", v->dir);
		return true;
	}
	g_autoptr(GString) reasons = g_string_new(NULL);
	for (guint i = 0; i < bins->len; i++) {
		if (v->max >= 0 && (int64_t)i >= v->max) {
			log_warn("image verifiers are being skipped: there are more than max_verifiers",
			         "dir", v->dir, NULL);
			break;
		}
		if (!cancel_check(cancel, error))
			return false;
		const char *bin = bins->pdata[i];
		int64_t start = time_mono();
		int code = 0;
		g_autofree char *reason = NULL;
		if (!run(v, bin, name, desc, &code, &reason, error)) {
			g_autofree char *runtime = duration_format(time_mono() - start);
			return error_prefix(error, "failed to call verifier %s (runtime %s)", bin, runtime);
		}
		if (code != 0) {
			*ret_ok = false;
			*ret_reason = g_strdup_printf("verifier %s rejected image (exit code %d): %s", bin,
			                              code, reason);
			return true;
		}
		g_string_append_printf(reasons, "%s%s => %s", i > 0 ? ", " : "", bin, reason);
	}
	*ret_reason = g_string_free(g_steal_pointer(&reasons), FALSE);
	return true;
}
