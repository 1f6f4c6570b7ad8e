// SPDX-License-Identifier: Apache-2.0
#include "ctr/blob.h"
#include "base/digest.h"
#include "ctr/util.h"
#include "services/content/v1/content.pb-c.h"
#include <string.h>

#define SERVICE &containerd__services__content__v1__content__descriptor
typedef Containerd__Services__Content__V1__WriteContentRequest PbWrite;

struct CtrBlob {
	RpcStream *stream;
	Digester *digester;
	char *ref, *expected;
	int64_t total, offset;
};

CtrBlob *ctr_blob_new(Cli *cli, const char *ref, int64_t total, const char *expected, GError **error)
{
	RpcStream *stream = ctr_stream(cli, SERVICE, "Write", RPC_BIDI_STREAM, NULL, error);
	if (stream == NULL)
		return NULL;
	CtrBlob *b = g_new0(CtrBlob, 1);
	b->stream = stream;
	b->digester = digester_new("sha256");
	b->ref = g_strdup(ref);
	b->expected = g_strdup(expected);
	b->total = total;
	return b;
}

static bool exchange(CtrBlob *b, PbWrite *req, GError **error)
{
	req->ref = b->ref;
	req->total = b->total;
	req->expected = b->expected;
	req->offset = b->offset;
	autopb Containerd__Services__Content__V1__WriteContentResponse *resp = NULL;
	if (!rpc_stream_send(b->stream, req, error) || !rpc_stream_recv(b->stream, &resp, error))
		return false;
	if (resp == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "the server ended the write early");
	b->offset = resp->offset;
	return true;
}

bool ctr_blob_write(CtrBlob *b, const void *data, size_t len, GError **error)
{
	PbWrite req = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
	req.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE;
	req.data = (ProtobufCBinaryData){len, (uint8_t *)data};
	digester_update(b->digester, data, len);
	return exchange(b, &req, error);
}

bool ctr_blob_commit(CtrBlob *b, GHashTable *labels, GError **error)
{
	PbWrite req = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
	g_autoptr(GHashTable) none = strmap_new();
	g_autoptr(GPtrArray) entries = label_entries(
	        labels != NULL ? labels : none,
	        &containerd__services__content__v1__write_content_request__labels_entry__descriptor);
	req.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	return exchange(b, &req, error);
}

char *ctr_blob_digest(CtrBlob *b)
{
	return digester_digest(b->digester);
}

int64_t ctr_blob_size(const CtrBlob *b)
{
	return b->offset;
}

void ctr_blob_free(CtrBlob *b)
{
	if (b == NULL)
		return;
	rpc_stream_free(b->stream);
	digester_free(b->digester);
	g_free(b->ref);
	g_free(b->expected);
	g_free(b);
}

bool ctr_blob_put(Cli *cli, const char *ref, const void *data, size_t len, GHashTable *labels,
                  char **ret_digest, GError **error)
{
	g_autofree char *digest = digest_bytes(data, len);
	g_autoptr(CtrBlob) b = ctr_blob_new(cli, ref, (int64_t)len, digest, error);
	g_autoptr(GError) failed = NULL;
	if (b == NULL)
		return false;
	if (!ctr_blob_write(b, data, len, &failed) || !ctr_blob_commit(b, labels, &failed)) {
		if (!error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return error_prefix(error, "failed commit on ref %s", Q(ref));
		}
		if (labels != NULL && !ctr_blob_label(cli, digest, labels, error))
			return false;
	}
	*ret_digest = g_steal_pointer(&digest);
	return true;
}

bool ctr_blob_label(Cli *cli, const char *digest, GHashTable *labels, GError **error)
{
	if (g_hash_table_size(labels) == 0)
		return true;
	g_autoptr(GPtrArray) paths = label_paths(labels);
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__services__content__v1__info__labels_entry__descriptor);
	Containerd__Services__Content__V1__Info info = CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
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
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Update", &req, &resp, error);
}

GHashTable *ctr_blob_labels(Cli *cli, const char *digest, GError **error)
{
	Containerd__Services__Content__V1__InfoRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
	req.digest = digest;
	autopb Containerd__Services__Content__V1__InfoResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Info", &req, &resp, error))
		return NULL;
	return label_map(resp->info->n_labels, resp->info->labels);
}
