// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `ctr run --cni`: the plugins of the first network configuration, called as the CNI specification says
 * (upstream go-cni with its default configuration, libcni). Configurations are read from /etc/cni/net.d,
 * plugins are in /opt/cni/bin and /usr/lib/cni; NETCONFPATH and CNI_PATH name other places, as for cnitool.
 * What Add returned is kept for Del. Blocking, one thread.
 */

#include "base/error.h"

typedef struct CtrCni CtrCni;
/* `cni plugin not initialized: ...` where there is no configuration. */
CtrCni *ctr_cni_new(GError **error);
/* Puts the network namespace into the network, as eth0. What a failed Add did is taken back. */
bool ctr_cni_add(CtrCni *cni, const char *id, const char *netns, GError **error);
/* Takes it out again. Goes on after a failure of one plugin and returns the first. */
bool ctr_cni_del(CtrCni *cni, const char *id, const char *netns, GError **error);
void ctr_cni_free(CtrCni *cni);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtrCni, ctr_cni_free)
