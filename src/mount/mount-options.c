// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <string.h>
#include <sys/mount.h>

static const struct {
	const char *name;
	unsigned long flag;
	bool clear;
} flag_names[] = {
        {"async", MS_SYNCHRONOUS, true},
        {"atime", MS_NOATIME, true},
        {"bind", MS_BIND, false},
        {"dev", MS_NODEV, true},
        {"diratime", MS_NODIRATIME, true},
        {"dirsync", MS_DIRSYNC, false},
        {"exec", MS_NOEXEC, true},
        {"mand", MS_MANDLOCK, false},
        {"noatime", MS_NOATIME, false},
        {"nodev", MS_NODEV, false},
        {"nodiratime", MS_NODIRATIME, false},
        {"noexec", MS_NOEXEC, false},
        {"nomand", MS_MANDLOCK, true},
        {"norelatime", MS_RELATIME, true},
        {"nostrictatime", MS_STRICTATIME, true},
        {"nosuid", MS_NOSUID, false},
        {"rbind", MS_BIND | MS_REC, false},
        {"relatime", MS_RELATIME, false},
        {"remount", MS_REMOUNT, false},
        {"ro", MS_RDONLY, false},
        {"rw", MS_RDONLY, true},
        {"strictatime", MS_STRICTATIME, false},
        {"suid", MS_NOSUID, true},
        {"sync", MS_SYNCHRONOUS, false},
};

static const struct {
	const char *name;
	unsigned long flags;
} propagation_names[] = {
        {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
        {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
        {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
        {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};

static bool parse_flag(const char *option, MountOptions *o)
{
	if (g_str_equal(option, "defaults"))
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(flag_names); i++) {
		if (!g_str_equal(option, flag_names[i].name))
			continue;
		if (flag_names[i].clear) {
			o->flags &= ~flag_names[i].flag;
			o->cleared |= flag_names[i].flag;
		} else {
			o->flags |= flag_names[i].flag;
			o->cleared &= ~flag_names[i].flag;
		}
		return true;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(propagation_names); i++) {
		if (g_str_equal(option, propagation_names[i].name)) {
			o->propagation = propagation_names[i].flags;
			return true;
		}
	}
	return false;
}

static void replace(char **where, const char *value)
{
	g_free(*where);
	*where = g_strdup(value);
}

bool mount_options_parse(const char *const *options, MountOptions *ret, GError **error)
{
	g_auto(MountOptions) o = {.data = g_ptr_array_new_with_free_func(g_free)};

	for (; options != NULL && *options != NULL; options++) {
		const char *opt = *options;
		if (g_str_has_prefix(opt, "X-containerd."))
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "internal mount option %s was not consumed by the mount manager",
			                 Q(opt));
		if (parse_flag(opt, &o))
			continue;
		if (g_str_equal(opt, "loop"))
			o.loop = true;
		else if (g_str_has_prefix(opt, "uidmap="))
			replace(&o.uidmap, opt + strlen("uidmap="));
		else if (g_str_has_prefix(opt, "gidmap="))
			replace(&o.gidmap, opt + strlen("gidmap="));
		else
			g_ptr_array_add(o.data, g_strdup(opt));
	}
	*ret = o;
	o = (MountOptions){0};
	return true;
}

void mount_options_clear(MountOptions *o)
{
	g_clear_pointer(&o->data, g_ptr_array_unref);
	g_clear_pointer(&o->uidmap, g_free);
	g_clear_pointer(&o->gidmap, g_free);
}

uint64_t mount_attributes(unsigned long flags)
{
	uint64_t a = 0;
	a |= (flags & MS_RDONLY) ? MOUNT_ATTR_RDONLY : 0;
	a |= (flags & MS_NOSUID) ? MOUNT_ATTR_NOSUID : 0;
	a |= (flags & MS_NODEV) ? MOUNT_ATTR_NODEV : 0;
	a |= (flags & MS_NOEXEC) ? MOUNT_ATTR_NOEXEC : 0;
	a |= (flags & MS_NODIRATIME) ? MOUNT_ATTR_NODIRATIME : 0;
	// one of three, relatime is 0; mount(2) prefers strictatime
	if (flags & MS_STRICTATIME)
		a |= MOUNT_ATTR_STRICTATIME;
	else if (flags & MS_NOATIME)
		a |= MOUNT_ATTR_NOATIME;
	return a;
}

// ---- lists of mounts ----

static bool is_idmap(const char *option)
{
	return g_str_has_prefix(option, "uidmap=") || g_str_has_prefix(option, "gidmap=");
}

static char **take_strv(GPtrArray *array)
{
	g_ptr_array_add(array, NULL);
	return (char **)g_ptr_array_free(array, FALSE);
}

static char **readonly_overlay(char **options)
{
	GPtrArray *out = g_ptr_array_new();
	const char *upper = NULL;
	for (char **o = options; *o != NULL; o++) {
		if (g_str_has_prefix(*o, "upperdir="))
			upper = *o + strlen("upperdir=");
	}
	for (char **o = options; *o != NULL; o++) {
		if (g_str_has_prefix(*o, "upperdir=") || g_str_has_prefix(*o, "workdir=") || is_idmap(*o))
			continue;
		if (upper != NULL && g_str_has_prefix(*o, "lowerdir="))
			g_ptr_array_add(out,
			                g_strdup_printf("lowerdir=%s:%s", upper, *o + strlen("lowerdir=")));
		else
			g_ptr_array_add(out, g_strdup(*o));
	}
	return take_strv(out);
}

static char **readonly_other(char **options)
{
	GPtrArray *out = g_ptr_array_new();
	for (char **o = options; *o != NULL; o++) {
		if (!g_str_equal(*o, "rw") && !g_str_equal(*o, "ro"))
			g_ptr_array_add(out, g_strdup(*o));
	}
	g_ptr_array_add(out, g_strdup("ro"));
	return take_strv(out);
}

GPtrArray *mounts_copy(GPtrArray *mounts)
{
	GPtrArray *copy = mounts_new();
	for (guint i = 0; i < mounts->len; i++)
		g_ptr_array_add(copy, mount_copy(mounts->pdata[i]));
	return copy;
}

GPtrArray *mounts_readonly(GPtrArray *mounts)
{
	GPtrArray *copy = mounts_copy(mounts);
	for (guint i = 0; i < copy->len; i++) {
		Mount *m = copy->pdata[i];
		char **options = g_strcmp0(m->type, "overlay") == 0 ? readonly_overlay(m->options)
		                                                    : readonly_other(m->options);
		g_strfreev(m->options);
		m->options = options;
	}
	return copy;
}

GPtrArray *mounts_without_idmap(GPtrArray *mounts)
{
	GPtrArray *copy = mounts_copy(mounts);
	for (guint i = 0; i < copy->len; i++) {
		Mount *m = copy->pdata[i];
		size_t n = 0;
		for (char **o = m->options; *o != NULL; o++) {
			if (is_idmap(*o))
				g_free(*o);
			else
				m->options[n++] = *o;
		}
		m->options[n] = NULL;
	}
	return copy;
}

GPtrArray *mounts_bind_to_overlay(GPtrArray *mounts)
{
	const Mount *bind = mounts->len == 1 ? mounts->pdata[0] : NULL;
	if (bind == NULL || g_strcmp0(bind->type, "bind") != 0)
		return mounts_copy(mounts);
	GPtrArray *options = g_ptr_array_new();
	for (char **o = bind->options; *o != NULL; o++) {
		if (!g_str_equal(*o, "rbind") && !g_str_equal(*o, "bind"))
			g_ptr_array_add(options, g_strdup(*o));
	}
	g_ptr_array_add(options, g_strconcat("upperdir=", bind->source, NULL));
	g_auto(GStrv) v = take_strv(options);
	GPtrArray *out = mounts_new();
	g_ptr_array_add(out, mount_new("overlay", "overlay", bind->target, (const char *const *)v));
	return out;
}
