// SPDX-License-Identifier: Apache-2.0
#include "plugin/deprecations.h"
#include "base/log.h"
#include "loop/lock.h"

#define PREFIX "io.containerd.deprecation/"

/* Texts of our own for the ids of upstream. */
static const struct {
	const char *id, *message;
} known[] = {
        {PREFIX "cri-registry-mirrors",
         "`mirrors` in the CRI registry section is deprecated since containerd v1.5 and goes in v2.4: "
         "use `config_path` and a hosts.toml for each registry."},
        {PREFIX "cri-registry-auths", "`auths` in the CRI registry section is deprecated since containerd "
                                      "v1.3 and goes in v2.4: use `ImagePullSecrets`."},
        {PREFIX "cri-registry-configs",
         "`configs` in the CRI registry section is deprecated since containerd v1.5 and goes in v2.4: "
         "use `config_path` and a hosts.toml for each registry."},
        {PREFIX "cri-cni-bin-dir",
         "`bin_dir` in the CRI CNI section is deprecated since containerd v2.1 and goes in v2.4: use "
         "`bin_dirs`."},
        {PREFIX "tracing-processor-config",
         "the `otlp` section is deprecated since containerd v1.6 and goes in v2.4: use the OTLP "
         "environment variables."},
        {PREFIX "tracing-service-config",
         "the `tracing` section is deprecated since containerd v1.6 and goes in v2.4: use the OTEL "
         "environment variables."},
        {PREFIX "nri-v010-plugin",
         "NRI 0.1.0 plugins are deprecated since containerd v2.2: use the v010-adapter plugin."},
        {PREFIX "nri-plugin-interface", "an NRI plugin uses a deprecated interface."},
        {PREFIX "cgroup-v1",
         "cgroup v1 is deprecated since containerd v2.2 and goes by May 2029 at the latest: move the host to "
         "cgroup v2."},
        {PREFIX "enable-cdi",
         "`enable_cdi` in the CRI section is deprecated and goes in v2.4: CDI is always enabled then."},
        {PREFIX "runc-options-task-api-address",
         "`task_api_address` in the runc options is deprecated since containerd v2.3: set it "
         "in CreateTaskRequest."},
        {PREFIX "runc-options-task-api-version",
         "`task_api_version` in the runc options is deprecated since containerd v2.3: set it "
         "in CreateTaskRequest."},
        {PREFIX "cri-create-container-checkpoint-restore",
         "restoring a checkpoint in CRI CreateContainer is deprecated and goes in v2.4."},
};

struct Deprecations {
	Lock lock;
	GArray *seen;
};

Deprecations *deprecations_new(void)
{
	Deprecations *d = g_new0(Deprecations, 1);
	lock_init(&d->lock, "deprecations", LOCK_RANK_LEAF);
	d->seen = g_array_new(FALSE, FALSE, sizeof(Deprecation));
	return d;
}

void deprecations_free(Deprecations *d)
{
	if (d == NULL)
		return;
	g_array_unref(d->seen);
	lock_destroy(&d->lock);
	g_free(d);
}

static const char *message_of(const char *id, const char **ret_id)
{
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		if (g_str_equal(known[i].id, id)) {
			*ret_id = known[i].id;
			return known[i].message;
		}
	}
	return NULL;
}

void deprecations_emit(Deprecations *d, const char *id)
{
	const char *message = message_of(id, &id);
	if (message == NULL) {
		log_warn("ignored unknown warning", "warning", id, NULL);
		return;
	}
	Deprecation new = {id, message, time_now()};
	{
		LOCK_SCOPE(&d->lock);
		for (guint i = 0; i < d->seen->len; i++) {
			Deprecation *s = &g_array_index(d->seen, Deprecation, i);
			if (s->id == id) {
				s->last = new.last;
				return;
			}
		}
		g_array_append_val(d->seen, new);
	}
	log_warn(message, "warning", id, NULL);
}

GArray *deprecations_list(Deprecations *d)
{
	LOCK_SCOPE(&d->lock);
	return g_array_copy(d->seen);
}
