// SPDX-License-Identifier: Apache-2.0

#include "shim/runc.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/util.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A log of failed commands that nobody reads must not fill the tmpfs of /run. */
#define LOG_MAX (1024 * 1024)

struct RuncCall {
	Runc *runc;
	Command *command; // NULL: it could not be started
	GError *start_error;
	char *name; // argv[0], for the error
	char *verb, *what;
	int64_t started;
	RuncFn fn;
	void *data;
};

static GQueue calls = G_QUEUE_INIT; // of RuncCall, oldest first

void runc_init(Runc *runc, Loop *loop, Reaper *reaper, const char *bundle, const char *ns,
               const RuncOptions *options)
{
	*runc = (Runc){
	        .loop = loop,
	        .reaper = reaper,
	        .command = g_strdup(str_or(options->binary_name, RUNC_DEFAULT_BINARY)),
	        .root = path_join(str_or(options->root, RUNC_DEFAULT_ROOT), ns),
	        .log = path_join(bundle, "log.json"),
	        .systemd_cgroup = options->systemd_cgroup,
	};
}

void runc_clear(Runc *runc)
{
	g_free(runc->command);
	g_free(runc->root);
	g_free(runc->log);
}

static goffset log_size(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* The error is borrowed. */
static void call_finish(RuncCall *call, const GError *error, const char *output)
{
	g_queue_remove(&calls, call);
	call->runc->running--;
	call->fn(error, output, call->data);
	g_clear_error(&call->start_error);
	g_free(call->name);
	g_free(call->verb);
	g_free(call->what);
	g_free(call);
}

static void on_runc_exit(int code, const char *output, size_t output_len, void *data)
{
	RuncCall *call = data;
	g_autoptr(GError) error = NULL;
	if (code != 0)
		error_set(&error, CTRD_ERR_UNKNOWN, "%s did not terminate successfully: exit status %d%s%s",
		          call->name, code, output_len > 0 ? ": " : "", output);
	call_finish(call, error, output);
}

static void on_start_failed(void *data)
{
	RuncCall *call = data;
	call_finish(call, call->start_error, "");
}

static GPtrArray *runc_argv(const Runc *runc, GPtrArray *args)
{
	GPtrArray *argv = g_ptr_array_new();
	g_ptr_array_add(argv, runc->command);
	const char *global[] = {"--root", runc->root, "--log", runc->log, "--log-format", "json"};
	for (unsigned i = 0; i < G_N_ELEMENTS(global); i++)
		g_ptr_array_add(argv, (char *)global[i]);
	if (runc->systemd_cgroup)
		g_ptr_array_add(argv, (char *)"--systemd-cgroup");
	for (guint i = 0; i < args->len; i++)
		g_ptr_array_add(argv, args->pdata[i]);
	g_ptr_array_add(argv, NULL);
	return argv;
}

RuncCall *runc_run(Runc *runc, const char *what, GPtrArray *args, RuncStdio stdio, RuncFn fn, void *data)
{
	if (runc->running == 0) {
		if (log_size(runc->log) > LOG_MAX && truncate(runc->log, 0) < 0)
			unlink(runc->log);
		runc->log_mark = log_size(runc->log);
	}
	g_autoptr(GPtrArray) argv = runc_argv(runc, args);
	RuncCall *call = g_new0(RuncCall, 1);
	*call = (RuncCall){.runc = runc,
	                   .name = g_strdup(runc->command),
	                   .verb = g_strdup(args->pdata[0]),
	                   .what = g_strdup(what),
	                   .fn = fn,
	                   .data = data,
	                   .started = time_mono()};
	call->command = command_start(runc->reaper, runc->command, (const char *const *)argv->pdata, stdio.in,
	                              stdio.out, stdio.err, on_runc_exit, call, &call->start_error);
	if (call->command == NULL)
		loop_post(runc->loop, on_start_failed, call);
	g_queue_push_tail(&calls, call);
	runc->running++;
	return call;
}

void runc_call_kill(RuncCall *call)
{
	if (call->command != NULL)
		command_kill(call->command);
}

void runc_kill_calls(const char *what, const char *verb)
{
	for (GList *l = calls.head; l != NULL; l = l->next) {
		RuncCall *call = l->data;
		if (strcmp(call->what, what) == 0 && strcmp(call->verb, verb) == 0)
			runc_call_kill(call);
	}
}

void runc_visit(RuncVisitor visit, void *data)
{
	int64_t now = time_mono();
	for (GList *l = calls.head; l != NULL; l = l->next) {
		const RuncCall *call = l->data;
		visit(call->verb, call->what, call->command != NULL ? command_pid(call->command) : 0,
		      now - call->started, data);
	}
}

char *runc_log_last_error(const char *path, goffset offset, GError **error)
{
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(path, 2 * LOG_MAX, &text, &len, error))
		return NULL;
	char *last = NULL;
	char *rest = (size_t)offset <= len ? text + offset : text;
	for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
		if (*line == '\0')
			continue;
		g_autoptr(JsonObject) json = json_parse(line, strlen(line), LOG_MAX, error);
		if (json == NULL) {
			g_free(last);
			return NULL;
		}
		const char *msg = json_get_string(json, "msg");
		if (msg == NULL || g_strcmp0(json_get_string(json, "level"), "error") != 0)
			continue;
		g_free(last);
		last = g_strstrip(g_strdup(msg));
	}
	return last;
}

GError *runc_error(Runc *runc, const GError *error, const char *msg)
{
	if (error == NULL)
		return NULL;
	GError *ret = NULL;
	g_autoptr(GError) read_error = NULL;
	g_autofree char *last = runc_log_last_error(runc->log, runc->log_mark, &read_error);
	if (read_error != NULL)
		error_set(&ret, CTRD_ERR_UNKNOWN, "%s: unable to retrieve OCI runtime error (%s): %s", msg,
		          read_error->message, error->message);
	else
		error_set(&ret, CTRD_ERR_UNKNOWN, "%s: %s", msg, str_empty(last) ? error->message : last);
	return ret;
}

bool runc_error_is_gone(const GError *error)
{
	if (error == NULL)
		return false;
	const char *text = error->message;
	// runc's text, and crun's: it reads <root>/<id>/status, or looks into <root>/<id>
	return strstr(text, "does not exist") != NULL ||
	       strstr(text, "/status`: No such file or directory") != NULL ||
	       (strstr(text, "cannot open directory") != NULL &&
	        strstr(text, "No such file or directory") != NULL);
}

GError *runc_kill_error(const GError *error)
{
	if (error == NULL)
		return NULL;
	GError *ret = NULL;
	g_autofree char *lower = g_ascii_strdown(error->message, -1);
	if (strstr(error->message, "os: process already finished") != NULL ||
	    strstr(error->message, "container not running") != NULL ||
	    strstr(lower, "no such process") != NULL)
		error_set_class(&ret, CTRD_ERR_NOT_FOUND, "process already finished");
	else if (runc_error_is_gone(error))
		error_set_class(&ret, CTRD_ERR_NOT_FOUND, "no such container");
	else
		error_set(&ret, CTRD_ERR_UNKNOWN, "unknown error after kill: %s", error->message);
	return ret;
}
