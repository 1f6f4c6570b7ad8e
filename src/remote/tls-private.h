// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "remote/http.h"

#include <curl/curl.h>

/* Sets the options of a request. tls must outlive it; NULL is fine. */
void http_tls_apply(HttpTls *tls, CURL *easy);
