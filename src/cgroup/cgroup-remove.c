// SPDX-License-Identifier: Apache-2.0

/* What a runtime that was killed half way leaves: cgroups that it knows nothing of any more. */

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "cgroup/cgroup-private.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_MAX (16 * 1024 * 1024)
#define TRIES 50
#define PAUSE_US (10 * 1000)
#define DEPTH_MAX 16

static void kill_all(const char *dir)
{
	g_autofree char *path = path_join(dir, "cgroup.procs");
	FILE *f = fopen(path, "re");
	for (int pid; f != NULL && fscanf(f, "%d", &pid) == 1;)
		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	if (f != NULL)
		fclose(f);
	cg_write(dir, "freezer.state", "THAWED", NULL);
	cg_write(dir, "cgroup.freeze", "0", NULL);
}

/* Children first. False: something is in it still. */
static bool remove_group(const char *dir, unsigned depth)
{
	g_autoptr(GPtrArray) names = depth < DEPTH_MAX ? dir_list(dir, 0, NULL) : NULL;
	for (guint i = 0; names != NULL && i < names->len; i++) {
		g_autofree char *child = path_join(dir, names->pdata[i]);
		if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
			remove_group(child, depth + 1);
	}
	if (rmdir(dir) == 0 || errno == ENOENT)
		return true;
	kill_all(dir);
	return false;
}

static void remove_with_patience(const char *dir)
{
	if (!path_exists(dir))
		return;
	for (int i = 0; i < TRIES; i++) {
		if (remove_group(dir, 0))
			return;
		g_usleep(PAUSE_US);
	}
	log_warn("cannot remove a cgroup that was left", "path", dir, NULL);
}

bool cgroup_path_is_ours(const char *path, const char *id)
{
	g_autofree char *clean = path_clean(path);
	g_autofree char *last = g_path_get_basename(clean);
	// an absolute path is cgroupfs's; "slice:prefix:name" is systemd's, which removes its scopes itself
	return *path == '/' && strcmp(clean, "/") != 0 && !str_empty(id) && strstr(last, id) != NULL;
}

void cgroup_remove_left(const char *bundle, const char *id)
{
	g_autofree char *config = path_join(bundle, "config.json");
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(config, CONFIG_MAX, &text, &len, NULL))
		return;
	g_autoptr(JsonObject) spec = json_parse(text, len, CONFIG_MAX, NULL);
	const char *path =
	        spec != NULL ? json_get_string(json_get_object(spec, "linux"), "cgroupsPath") : NULL;
	if (path == NULL || !cgroup_path_is_ours(path, id))
		return;
	g_autofree char *clean = path_clean(path);
	if (cgroup_is_unified()) {
		g_autofree char *dir = g_strconcat(CG_MOUNT, clean, NULL);
		remove_with_patience(dir);
		return;
	}
	g_autoptr(GPtrArray) hierarchies = dir_list(CG_MOUNT, 0, NULL);
	for (guint i = 0; hierarchies != NULL && i < hierarchies->len; i++) {
		g_autofree char *dir = g_strconcat(CG_MOUNT "/", hierarchies->pdata[i], clean, NULL);
		remove_with_patience(dir);
	}
}
