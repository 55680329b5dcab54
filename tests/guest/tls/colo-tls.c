/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-tls: puts TLS in front of the test guest's HTTP server.
 *
 *   colo-tls certificate DIR   makes a key and a certificate for it in DIR
 *   colo-tls serve DIR         serves with them on port 443
 *
 * Real TLS of a real library: random numbers, keys and session tickets are as
 * fresh in each handshake as anywhere. Two machines in lockstep therefore
 * answer a handshake differently; once it is done, both encrypt alike only if
 * one has the other's state. That is what a test wants to see survive.
 *
 * One thread per connection; it carries bytes between the client and port 80
 * of the guest itself until either ends. `serve` returns, with the server in
 * the background, once the port is open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT_TLS = 443,
    PORT_HTTP = 80,
    PATH_BYTES = 512,
    BUFFER_BYTES = 16384,       /* one TLS record */
    DAY_S = 24 * 60 * 60,
    VALID_DAYS = 7300,
    THREAD_STACK_BYTES = 256 << 10,
    BACKLOG = 128,
};

static const char host_name[] = "guest.test";

typedef struct Session {
    SSL *tls;
    int client_fd;
    int server_fd;
} Session;

static void __attribute__((noreturn)) die(const char *what)
{
    unsigned long code = ERR_get_error();

    fprintf(stderr, "colo-tls: %s: %s\n", what,
            code ? ERR_reason_error_string(code) : strerror(errno));
    exit(1);
}

/* -- certificate ------------------------------------------------------- */

static FILE *create(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "w");
    if (!file) {
        die(path);
    }
    return file;
}

static void name_host(X509 *certificate)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_EXTENSION *names;
    char text[64];

    snprintf(text, sizeof(text), "DNS:%s", host_name);
    names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    if (!names || !X509_add_ext(certificate, names, -1) ||
        !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                    (const unsigned char *)host_name, -1, -1,
                                    0) ||
        !X509_set_issuer_name(certificate, subject)) {
        die("naming the certificate");
    }
    X509_EXTENSION_free(names);
}

static X509 *self_signed(EVP_PKEY *key)
{
    X509 *certificate = X509_new();

    if (!certificate) {
        die("certificate");
    }
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    /* From yesterday on: clocks differ. */
    X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY_S);
    X509_time_adj_ex(X509_getm_notAfter(certificate), VALID_DAYS, 0, NULL);
    name_host(certificate);
    if (!X509_set_pubkey(certificate, key) ||
        !X509_sign(certificate, key, EVP_sha256())) {
        die("signing the certificate");
    }
    return certificate;
}

static int make_certificate(const char *dir)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *key_file = create(dir, "key.pem");
    FILE *certificate_file = create(dir, "certificate.pem");

    if (!key ||
        !PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL) ||
        !PEM_write_X509(certificate_file, self_signed(key)) ||
        fclose(key_file) || fclose(certificate_file)) {
        die("writing key and certificate");
    }
    return 0;
}

/* -- server ------------------------------------------------------------ */

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t written = write(fd, bytes, size);

        if (written <= 0) {
            return false;
        }
        bytes += written;
        size -= written;
    }
    return true;
}

static bool from_client(Session *session)
{
    char buffer[BUFFER_BYTES];
    int size = SSL_read(session->tls, buffer, sizeof(buffer));

    return size > 0 && write_all(session->server_fd, buffer, size);
}

static bool from_server(Session *session)
{
    char buffer[BUFFER_BYTES];
    ssize_t size = read(session->server_fd, buffer, sizeof(buffer));

    if (size <= 0) {
        SSL_shutdown(session->tls);
        return false;
    }
    return SSL_write(session->tls, buffer, size) == size;
}

static void carry(Session *session)
{
    struct pollfd fds[] = {
        { .fd = session->client_fd, .events = POLLIN },
        { .fd = session->server_fd, .events = POLLIN },
    };
    bool going = true;

    while (going) {
        int timeout_ms = SSL_pending(session->tls) ? 0 : -1;

        if (poll(fds, 2, timeout_ms) < 0) {
            return;
        }
        if (fds[0].revents || SSL_pending(session->tls)) {
            going = from_client(session);
        }
        if (going && fds[1].revents) {
            going = from_server(session);
        }
    }
}

static int connect_server(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(PORT_HTTP),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void *session_run(void *opaque)
{
    Session *session = opaque;

    if (SSL_accept(session->tls) == 1) {
        session->server_fd = connect_server();
        if (session->server_fd >= 0) {
            carry(session);
            close(session->server_fd);
        }
    }
    SSL_free(session->tls);
    close(session->client_fd);
    free(session);
    ERR_clear_error();
    return NULL;
}

static void session_start(SSL_CTX *context, int fd)
{
    Session *session = calloc(1, sizeof(*session));
    SSL *tls = SSL_new(context);
    pthread_attr_t attributes;
    pthread_t thread;

    if (!session || !tls || !SSL_set_fd(tls, fd)) {
        die("a new session");
    }
    session->tls = tls;
    session->client_fd = fd;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    if (pthread_create(&thread, &attributes, session_run, session)) {
        die("a thread for a session");
    }
    pthread_attr_destroy(&attributes);
}

static SSL_CTX *load(const char *dir)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char path[PATH_BYTES];

    if (!context) {
        die("TLS");
    }
    snprintf(path, sizeof(path), "%s/certificate.pem", dir);
    if (SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM) != 1) {
        die(path);
    }
    snprintf(path, sizeof(path), "%s/key.pem", dir);
    if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1) {
        die(path);
    }
    return context;
}

static int listen_all(void)
{
    struct sockaddr_in6 at = { .sin6_family = AF_INET6,
                               .sin6_port = htons(PORT_TLS) };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1, off = 0;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        die("port 443");
    }
    return fd;
}

static int serve(const char *dir)
{
    SSL_CTX *context = load(dir);
    int fd = listen_all();

    signal(SIGPIPE, SIG_IGN);
    if (daemon(0, 1) < 0) {
        die("daemon");
    }
    for (;;) {
        int client_fd = accept(fd, NULL, NULL);

        if (client_fd >= 0) {
            session_start(context, client_fd);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "certificate")) {
        return make_certificate(argv[2]);
    }
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        return serve(argv[2]);
    }
    fprintf(stderr, "usage: %s certificate|serve DIR\n", argv[0]);
    return 2;
}
