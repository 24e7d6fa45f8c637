#include "connect/cql/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct leat_cql_tls_context {
    SSL_CTX *ssl;
};
struct leat_cql_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

/* The oldest error of this thread's queue, which is emptied. */
static enum leat_status fail_tls(struct leat_error *err, enum leat_status status, const char *what) {
    char text[256] = "unknown reason";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return leat_fail(err, status, "%s: %s", what, text);
}

static enum leat_status fail_file(struct leat_error *err, const char *what, const char *path) {
    char text[512];
    snprintf(text, sizeof text, "%s '%s' cannot be used", what, path);
    return fail_tls(err, LEAT_INVALID, text);
}

static enum leat_status load_files(SSL_CTX *ssl, const struct leat_cql_config *config, struct leat_error *err) {
    if (config->tls_ca ? !SSL_CTX_load_verify_locations(ssl, config->tls_ca, NULL)
                       : !SSL_CTX_set_default_verify_paths(ssl))
        return fail_file(err, "the certificate authorities' file", config->tls_ca ? config->tls_ca : "(the system's)");
    if (config->tls_cert && SSL_CTX_use_certificate_chain_file(ssl, config->tls_cert) != 1)
        return fail_file(err, "the client's certificate", config->tls_cert);
    const char *key = config->tls_key ? config->tls_key : config->tls_cert;
    if (key && SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return fail_file(err, "the client's key", key);
    return LEAT_OK;
}

enum leat_status leat_cql_tls_context_open(const struct leat_cql_config *config, struct leat_cql_tls_context **out,
                                           struct leat_error *err) {
    *out = NULL;
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (!ssl) return fail_tls(err, LEAT_NO_MEMORY, "TLS cannot be set up");
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    enum leat_status s = load_files(ssl, config, err);
    if (s) {
        SSL_CTX_free(ssl);
        return s;
    }
    *out = leat_alloc(sizeof **out);
    (*out)->ssl = ssl;
    return LEAT_OK;
}

void leat_cql_tls_context_close(struct leat_cql_tls_context *context) {
    if (!context) return;
    SSL_CTX_free(context->ssl);
    free(context);
}

/* Who the certificate must be for; a name is also sent, so that a server of many can choose. */
static bool expect_host(SSL *ssl, const char *host) {
    uint8_t address[16];
    X509_VERIFY_PARAM *verify = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(verify, host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && X509_VERIFY_PARAM_set1_host(verify, host, 0) == 1;
}

enum leat_status leat_cql_tls_open(struct leat_cql_tls_context *context, const char *host, struct leat_cql_tls **out,
                                   struct leat_error *err) {
    *out = NULL;
    ERR_clear_error();
    SSL *ssl = SSL_new(context->ssl);
    BIO *in = BIO_new(BIO_s_mem()), *wire = BIO_new(BIO_s_mem());
    if (!ssl || !in || !wire || (host && !expect_host(ssl, host))) {
        BIO_free(in);
        BIO_free(wire);
        SSL_free(ssl);
        return fail_tls(err, LEAT_NO_MEMORY, "TLS cannot be set up");
    }
    SSL_set_bio(ssl, in, wire);
    SSL_set_connect_state(ssl);
    *out = leat_alloc(sizeof **out);
    **out = (struct leat_cql_tls){ssl, in, wire};
    return LEAT_OK;
}

void leat_cql_tls_close(struct leat_cql_tls *tls) {
    if (!tls) return;
    SSL_free(tls->ssl);
    free(tls);
}

enum leat_status leat_cql_tls_receive(struct leat_cql_tls *tls, const void *wire, size_t n, struct leat_error *err) {
    ERR_clear_error();
    if (n && BIO_write(tls->in, wire, (int)n) != (int)n) return fail_tls(err, LEAT_NO_MEMORY, "TLS");
    return LEAT_OK;
}

enum leat_status leat_cql_tls_handshake(struct leat_cql_tls *tls, bool *done, struct leat_error *err) {
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    *done = result == 1;
    if (*done || SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ) return LEAT_OK;
    long verified = SSL_get_verify_result(tls->ssl);
    if (verified == X509_V_OK) return fail_tls(err, LEAT_IO, "TLS handshake");
    ERR_clear_error();
    return leat_fail(err, LEAT_INVALID, "the server's certificate: %s", X509_verify_cert_error_string(verified));
}

enum leat_status leat_cql_tls_read(struct leat_cql_tls *tls, void *out, size_t n, size_t *got, bool *closed,
                                   struct leat_error *err) {
    ERR_clear_error();
    *closed = false;
    *got = 0;
    int result = SSL_read(tls->ssl, out, n > 1 << 20 ? 1 << 20 : (int)n);
    if (result > 0) {
        *got = (size_t)result;
        return LEAT_OK;
    }
    int why = SSL_get_error(tls->ssl, result);
    if (why == SSL_ERROR_ZERO_RETURN) *closed = true;
    return why == SSL_ERROR_WANT_READ || *closed ? LEAT_OK : fail_tls(err, LEAT_IO, "TLS");
}

enum leat_status leat_cql_tls_write(struct leat_cql_tls *tls, const void *bytes, size_t n, struct leat_error *err) {
    ERR_clear_error();
    for (size_t at = 0; at < n;) {
        int chunk = n - at > 1 << 20 ? 1 << 20 : (int)(n - at),
            result = SSL_write(tls->ssl, (const char *)bytes + at, chunk);
        if (result <= 0) return fail_tls(err, LEAT_IO, "TLS");
        at += (size_t)result;
    }
    return LEAT_OK;
}

enum leat_status leat_cql_tls_take(struct leat_cql_tls *tls, struct leat_buffer *wire, struct leat_error *err) {
    char *data;
    long n = BIO_get_mem_data(tls->out, &data);
    enum leat_status s = n > 0 ? leat_buffer_add(wire, data, (size_t)n, err) : LEAT_OK;
    if (n > 0 && !s) (void)BIO_reset(tls->out);
    return s;
}
