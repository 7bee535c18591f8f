/* upstream.c - fake OpenAI-compatible upstream (epoll, one thread, pre-built bytes).
 *   ./upstream PORT
 * POST /v1/chat/completions (any path that ends in /completions)
 *     non-stream -> ~1 KB JSON, keep-alive
 *     "stream": true -> SSE with Transfer-Encoding: chunked. The directive
 *       "bench c=<chunks> i=<interval us>" anywhere in the request body (put it in the user
 *       message: it survives every gateway) sets the count and the pace; i=0: as fast as the
 *       socket takes it, one chunk per ready stream per loop turn, each chunk its own send().
 *     Every chunk's delta.content is " T<19-digit CLOCK_MONOTONIC ns>" so that the client can
 *     compute the one-way delay of every chunk (same machine, same clock).
 *       "bench f=<n>": every n-th request answers 429 (n=1: all); f=0 none.
 *     With stream_options.include_usage the last event before [DONE] carries usage (always 200 completion
 * tokens). GET /v1/models -> list with "bench".   GET /stats -> {"json":..,"streams":..,"chunks":..}
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define MAXFD 20000
typedef struct Conn {
    int fd;
    char *in;
    size_t in_len, in_cap;
    int streaming, usage;
    int chunks_left;
    uint64_t interval, next;
    int hidx;
    int burst; /* hidx: heap index, -1 none */
    char pend[1024];
    size_t pend_len, pend_off;
} Conn;
static Conn *C[MAXFD];
static Conn *heap[MAXFD];
static int hn;
static Conn *burst[MAXFD];
static int bn;
static int ep;
static uint64_t n_json, n_stream, n_chunk, n_req;
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void hsw(int a, int b) {
    Conn *t = heap[a];
    heap[a] = heap[b];
    heap[b] = t;
    heap[a]->hidx = a;
    heap[b]->hidx = b;
}
static void hup(int i) {
    while (i && heap[(i - 1) / 2]->next > heap[i]->next) {
        hsw(i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}
static void hdown(int i) {
    for (;;) {
        int l = 2 * i + 1, m = i;
        if (l < hn && heap[l]->next < heap[m]->next) m = l;
        l++;
        if (l < hn && heap[l]->next < heap[m]->next) m = l;
        if (m == i) return;
        hsw(i, m);
        i = m;
    }
}
static void hpush(Conn *c) {
    heap[hn] = c;
    c->hidx = hn++;
    hup(c->hidx);
}
static void hdel(Conn *c) {
    int i = c->hidx;
    if (i < 0) return;
    c->hidx = -1;
    hn--;
    if (i != hn) {
        heap[i] = heap[hn];
        heap[i]->hidx = i;
        hup(i);
        hdown(heap[i]->hidx);
    }
}
static void bdel(Conn *c) {
    if (!c->burst) return;
    for (int i = 0; i < bn; i++)
        if (burst[i] == c) {
            burst[i] = burst[--bn];
            break;
        }
    c->burst = 0;
}

static char JSON_RESP[4096];
static int JSON_LEN;
static char MODELS[1024];
static int MODELS_LEN;
static const char *SSE_HEAD =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: "
    "no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static char CH[512];
static int CH_LEN;
static char *CH_TS;
static char FIRST[512];
static int FIRST_LEN;
static char LAST[1024];
static int LAST_LEN;
static char LASTU[2048];
static int LASTU_LEN;
static int mkchunk(char *dst, const char *payload) {
    return sprintf(dst, "%zx\r\n%s\r\n", strlen(payload), payload);
}
static void build(void) {
    char body[3000];
    char txt[700];
    const char *w = "The quick brown fox jumps over the lazy dog while the gateway relays bytes. ";
    txt[0] = 0;
    while (strlen(txt) < 560) strcat(txt, w);
    sprintf(body,
            "{\"id\":\"chatcmpl-bench0123456789abcdef\",\"object\":\"chat.completion\",\"created\":"
            "1700000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,"
            "\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,"
            "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":120,\"total_"
            "tokens\":139,\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_"
            "tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}}",
            txt);
    JSON_LEN = sprintf(JSON_RESP,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       strlen(body), body);
    const char *m = "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":"
                    "1700000000,\"owned_by\":\"bench\"}]}";
    MODELS_LEN =
        sprintf(MODELS, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                strlen(m), m);
#define PRE                                                                                                  \
    "data: "                                                                                                 \
    "{\"id\":\"chatcmpl-bench0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"           \
    "1700000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,"          \
    "\"delta\":"
    CH_LEN = mkchunk(
        CH, PRE "{\"content\":\" T0000000000000000000\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    CH_TS = strstr(CH, " T0000") + 2;
    FIRST_LEN =
        mkchunk(FIRST, PRE
                "{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    char l1[512];
    mkchunk(l1, PRE "{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    LAST_LEN = sprintf(LAST, "%se\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", l1);
    char l2[768];
    mkchunk(l2,
            "data: "
            "{\"id\":\"chatcmpl-bench0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"
            "1700000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\",\"choices\":[],\"usage\":{"
            "\"prompt_tokens\":19,\"completion_tokens\":200,\"total_tokens\":219,\"prompt_tokens_details\":{"
            "\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n");
    LASTU_LEN = sprintf(LASTU, "%s%se\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", l1, l2);
}
static void stamp(uint64_t t) {
    for (int i = 18; i >= 0; i--) {
        CH_TS[i] = '0' + t % 10;
        t /= 10;
    }
}
static void closec(Conn *c) {
    hdel(c);
    bdel(c);
    C[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c);
}
static void want(Conn *c, int out) {
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
static int wr(Conn *c, const char *b, size_t n) { /* 0 ok, 1 pending, -1 closed */
    ssize_t r = send(c->fd, b, n, MSG_NOSIGNAL);
    if (r == (ssize_t)n) return 0;
    if (r < 0) {
        if (errno != EAGAIN) {
            closec(c);
            return -1;
        }
        r = 0;
    }
    memcpy(c->pend, b + r, n - r);
    c->pend_len = n - r;
    c->pend_off = 0;
    hdel(c);
    bdel(c);
    want(c, 1);
    return 1;
}
static void sched(Conn *c) {
    if (c->interval) {
        if (c->hidx < 0) hpush(c);
    } else if (!c->burst) {
        c->burst = 1;
        burst[bn++] = c;
    }
}
static void proc(Conn *c);
/* send the next chunk of a streaming connection; -1: closed */
static int step(Conn *c) {
    int r;
    if (c->chunks_left == 0) {
        hdel(c);
        bdel(c);
        c->streaming = 0;
        r = c->usage ? wr(c, LASTU, LASTU_LEN) : wr(c, LAST, LAST_LEN);
        if (r == 0 && c->in_len) proc(c);
        return r;
    }
    stamp(now());
    c->chunks_left--;
    n_chunk++;
    r = wr(c, CH, CH_LEN);
    return r;
}
static void *memcase(const char *h, size_t n, const char *needle) {
    return memmem(h, n, needle, strlen(needle));
}
static void proc(Conn *c) {
    for (;;) {
        if (c->streaming || c->pend_len) return;
        char *he = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (!he) return;
        size_t hl = he + 4 - c->in;
        *he = 0;
        long cl = 0;
        int chunked = 0;
        char *p = strcasestr(c->in, "\r\ncontent-length:");
        if (p)
            cl = atol(p + 17);
        else if (strcasestr(c->in, "\r\ntransfer-encoding: chunked"))
            chunked = 1;
        if (strcasestr(c->in, "expect: 100-continue") && c->in_len == hl)
            send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
        *he = '\r';
        size_t tot;
        if (chunked) {
            char *z = memmem(c->in + hl - 2, c->in_len - hl + 2, "\r\n0\r\n\r\n", 7);
            if (!z) return;
            tot = z + 7 - c->in;
        } else {
            tot = hl + cl;
            if (c->in_len < tot) return;
        }
        char *b = c->in + hl;
        size_t bl = tot - hl;
        int get = !strncmp(c->in, "GET ", 4);
        n_req++;
        int stream = 0;
        char *s = memcase(b, bl, "\"stream\"");
        if (s) {
            s += 8;
            while (s < b + bl && (*s == ' ' || *s == ':')) s++;
            if (s + 4 <= b + bl && !memcmp(s, "true", 4)) stream = 1;
        }
        int us = 0;
        if ((s = memcase(b, bl, "\"include_usage\""))) {
            s += 15;
            while (s < b + bl && (*s == ' ' || *s == ':')) s++;
            us = s + 4 <= b + bl && !memcmp(s, "true", 4);
        }
        int cc = 200;
        long iv = 0, f = 0;
        char *d = memcase(b, bl, "bench ");
        if (d) {
            char t[96];
            size_t k = b + bl - d;
            if (k > 95) k = 95;
            memcpy(t, d, k);
            t[k] = 0;
            char *q;
            if ((q = strstr(t, "c="))) cc = atoi(q + 2);
            if ((q = strstr(t, "i="))) iv = atol(q + 2);
            if ((q = strstr(t, "f="))) f = atol(q + 2);
        }
        int is_stats = get && !strncmp(c->in + 4, "/stats", 6);
        int r;
        memmove(c->in, c->in + tot, c->in_len - tot);
        c->in_len -= tot;
        if (is_stats) {
            char o[400], bb[200];
            int n = sprintf(bb, "{\"json\":%lu,\"streams\":%lu,\"chunks\":%lu}", n_json, n_stream, n_chunk);
            n = sprintf(o,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                        n, bb);
            r = wr(c, o, n);
        } else if (get)
            r = wr(c, MODELS, MODELS_LEN);
        else if (f && n_req % f == 0) {
            const char *e =
                "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: "
                "1\r\nContent-Length: 48\r\n\r\n{\"error\":{\"message\":\"slow\",\"type\":\"rate_limit\"}}";
            r = wr(c, e, strlen(e));
        } else if (!stream) {
            n_json++;
            r = wr(c, JSON_RESP, JSON_LEN);
        } else {
            n_stream++;
            c->streaming = 1;
            c->usage = us;
            c->chunks_left = cc;
            c->interval = iv * 1000ull;
            char o[1024];
            int n = sprintf(o, "%s", SSE_HEAD);
            memcpy(o + n, FIRST, FIRST_LEN);
            n += FIRST_LEN;
            c->next = now() + c->interval;
            r = wr(c, o, n);
            if (r == 0) sched(c);
            if (r < 0) return;
            return;
        }
        if (r != 0) return;
    }
}
static void readable(Conn *c) {
    for (;;) {
        if (c->in_cap - c->in_len < 8192) {
            c->in_cap = c->in_cap * 2 + 16384;
            c->in = realloc(c->in, c->in_cap);
        }
        ssize_t r = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len - 1, 0);
        if (r == 0) {
            closec(c);
            return;
        }
        if (r < 0) {
            if (errno == EAGAIN) break;
            closec(c);
            return;
        }
        c->in_len += r;
        c->in[c->in_len] = 0;
        if ((size_t)r < 8000) break;
    }
    proc(c);
}
int main(int ac, char **av) {
    signal(SIGPIPE, SIG_IGN);
    build();
    int port = atoi(av[1]);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) {
        perror("bind");
        return 1;
    }
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    static struct epoll_event ev[1024];
    for (;;) {
        int to = -1;
        struct timespec ts, *tp = NULL;
        if (bn) {
            ts = (struct timespec){0, 0};
            tp = &ts;
        } else if (hn) {
            int64_t dt = heap[0]->next - now();
            if (dt < 0) dt = 0;
            ts.tv_sec = dt / 1000000000;
            ts.tv_nsec = dt % 1000000000;
            tp = &ts;
        }
        (void)to;
        int n = epoll_pwait2(ep, ev, 1024, tp, NULL);
        for (int i = 0; i < n; i++) {
            Conn *c = ev[i].data.ptr;
            if (!c) {
                for (;;) {
                    int f = accept4(l, NULL, NULL, SOCK_NONBLOCK);
                    if (f < 0) break;
                    if (f >= MAXFD) {
                        close(f);
                        continue;
                    }
                    setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &one, 4);
                    c = calloc(1, sizeof *c);
                    c->fd = f;
                    c->hidx = -1;
                    C[f] = c;
                    struct epoll_event x = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(ep, EPOLL_CTL_ADD, f, &x);
                }
                continue;
            }
            if (ev[i].events & EPOLLOUT) {
                ssize_t r = send(c->fd, c->pend + c->pend_off, c->pend_len - c->pend_off, MSG_NOSIGNAL);
                if (r < 0 && errno != EAGAIN) {
                    closec(c);
                    continue;
                }
                if (r > 0) c->pend_off += r;
                if (c->pend_off == c->pend_len) {
                    c->pend_len = c->pend_off = 0;
                    want(c, 0);
                    if (c->streaming)
                        sched(c);
                    else
                        proc(c);
                }
                continue;
            }
            readable(c);
        }
        uint64_t t = now();
        while (hn && heap[0]->next <= t) {
            Conn *c = heap[0];
            c->next += c->interval;
            hdown(0);
            step(c);
        }
        /* one chunk per ready burst stream per turn */
        int k = bn;
        Conn *list[k ? k : 1];
        memcpy(list, burst, k * sizeof(Conn *));
        for (int i = 0; i < k; i++)
            if (list[i]->burst) step(list[i]);
    }
}
