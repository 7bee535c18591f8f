/* gen.c - load generator for OpenAI-compatible servers (epoll, one thread). Prints one JSON line.
 *   ./gen -p PORT [-u PATH] [-H 'Name: value']... -b BODY [-s] [-c CONNS] [-d SECONDS]
 *         [-r RPS] [-1 [-R RAMP_SECONDS]] [-n EXPECTED_CHUNKS] [-t TIMEOUT_S]
 *  default: closed loop, CONNS keep-alive connections, each sends its next request at once for SECONDS;
 *           what was begun by then is waited for.
 *  -r RPS : open loop at a fixed rate; latency counts from the scheduled time.
 *  -1     : each connection makes one request; starts are spread over RAMP_SECONDS.
 *  -s     : the answer is SSE and must end with [DONE], or the event message_stop: counts content chunks (delta.content " T<ns>" as
 *           upstream.c writes),
 *           TTFT = request written -> first content chunk; delay = now - <ns> of every chunk.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <errno.h>
#include <unistd.h>
#include <signal.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
typedef struct {
    float *a;
    size_t n, cap;
} Vec;
static void vpush(Vec *v, double x) {
    if (v->n == v->cap) {
        if (v->cap >= 8000000) return;
        v->cap = v->cap ? v->cap * 2 : 65536;
        v->a = realloc(v->a, v->cap * sizeof(float));
    }
    v->a[v->n++] = x;
}
static int cmpf(const void *a, const void *b) {
    float x = *(float *)a, y = *(float *)b;
    return x < y ? -1 : x > y;
}
static double pct(Vec *v, double p) {
    if (!v->n) return -1;
    size_t i = (size_t)(p * (v->n - 1) + 0.5);
    return v->a[i];
}
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
enum { IDLE, HEAD, BLEN, CSIZE, CDATA, CCRLF, CTRAIL, BEOF };
typedef struct {
    int fd, st, busy, close_after, status, got_done;
    int64_t left;
    uint64_t t0, start_at;
    long chunks;
    int first;
    char hd[8192];
    size_t hl;
    char *line;
    size_t ll, lc;
    int dead;
    uint64_t opened;
} Conn;
static Conn *cs;
static int N = 64, port, sse, once, expect = -1;
static double dur = 10, rps, ramp = 2, tmo = 60;
static const char *path = "/v1/chat/completions", *body = "{}";
static char hdrs[4096];
static char *req;
static size_t reql;
static int ep;
static Vec lat, ttft, delay;
static long ok, err, non200, shortr, reconn, chunks, bytes;
static uint64_t T0, TEND;
static int stopping;
static char errtxt[300];
static int *freel;
static int nfree;
static uint64_t *pq;
static long pqh, pqt, pqcap;
static int conn_open(Conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, 4);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int r = connect(c->fd, (void *)&a, sizeof a);
    if (r < 0 && errno != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    struct epoll_event e = {.events = EPOLLIN | (r < 0 ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    c->opened = now();
    return r < 0;
}
static void do_send(Conn *c) {
    ssize_t r = send(c->fd, req, reql, MSG_NOSIGNAL);
    if (r != (ssize_t)reql) { /* still connecting */
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        c->dead = 1;
        return;
    }
    c->dead = 0;
}
static void start(Conn *c, uint64_t t) {
    c->busy = 1;
    c->st = HEAD;
    c->hl = 0;
    c->ll = 0;
    c->chunks = 0;
    c->first = 0;
    c->got_done = 0;
    c->close_after = 0;
    c->t0 = t;
    if (c->fd < 0) {
        conn_open(c);
        reconn++;
        if (c->fd < 0) {
            err++;
            c->busy = 0;
            return;
        }
    }
    do_send(c);
}
static void release(Conn *c);
static void finish(Conn *c, int good) {
    uint64_t t = now();
    c->busy = 0;
    int st = c->status;
    if (good && st != 200) {
        non200++;
        good = 0;
        if (!errtxt[0]) {
            snprintf(errtxt, 200, "status %d: %.*s", st, (int)(c->ll > 150 ? 150 : c->ll),
                     c->line ? c->line : "");
            for (char *p = errtxt; *p; p++)
                if (*p == '"' || *p == '\\' || *p < 32) *p = ' ';
        }
    }
    if (good && sse && (!c->got_done || (expect >= 0 && c->chunks != expect))) {
        if (!errtxt[0]) snprintf(errtxt, 200, "%ld chunks%s", c->chunks, c->got_done ? "" : ", no [DONE]");
        shortr++;
        good = 0;
    }
    if (good) {
        ok++;
        vpush(&lat, (t - c->t0) / 1e3);
    } else
        err++;
    if (c->close_after || !good) {
        close(c->fd);
        c->fd = -1;
    }
    release(c);
}
static void release(Conn *c) {
    if (stopping || once) return;
    if (rps > 0) {
        if (pqh != pqt) {
            uint64_t t = pq[pqh++ % pqcap];
            start(c, t);
        } else
            freel[nfree++] = c - cs;
    } else if (err < 5000)
        start(c, now());
}
static void lines(Conn *c, const char *p, size_t n, uint64_t t) {
    if (c->ll + n + 1 > c->lc) {
        c->lc = (c->ll + n) * 2 + 4096;
        c->line = realloc(c->line, c->lc);
    }
    memcpy(c->line + c->ll, p, n);
    c->ll += n;
    if (!sse) return;
    char *b = c->line, *e = b + c->ll, *nl;
    while ((nl = memchr(b, '\n', e - b))) {
        size_t L = nl - b;
        if (L > 5 && !memcmp(b, "data:", 5)) {
            if (memmem(b, L < 20 ? L : 20, "[DONE]", 6) || memmem(b, L < 40 ? L : 40, "\"message_stop\"", 14))
                c->got_done = 1;
            else {
                char *q = memmem(b, L, "\" T", 3);
                if (q && nl - q > 22) {
                    q += 3;
                    uint64_t v = 0;
                    for (int i = 0; i < 19; i++) v = v * 10 + (q[i] - '0');
                    c->chunks++;
                    chunks++;
                    vpush(&delay, (double)(int64_t)(t - v) / 1e3);
                    if (!c->first) {
                        c->first = 1;
                        vpush(&ttft, (t - c->t0) / 1e3);
                    }
                }
            }
        }
        b = nl + 1;
    }
    size_t rest = e - b;
    memmove(c->line, b, rest);
    c->ll = rest;
}
static void feed(Conn *c, char *p, size_t n, uint64_t t) {
    bytes += n;
    while (n) {
        switch (c->st) {
        case HEAD: {
            size_t k = n < sizeof c->hd - 1 - c->hl ? n : sizeof c->hd - 1 - c->hl;
            size_t old = c->hl;
            memcpy(c->hd + old, p, k);
            c->hl += k;
            c->hd[c->hl] = 0;
            size_t from = old > 3 ? old - 3 : 0;
            char *he = memmem(c->hd + from, c->hl - from, "\r\n\r\n", 4);
            if (!he) {
                p += k;
                n -= k;
                if (c->hl >= sizeof c->hd - 1) {
                    finish(c, 0);
                    return;
                }
                break;
            }
            size_t used = he + 4 - c->hd - old;
            p += used;
            n -= used;
            he[2] = 0;
            c->status = atoi(c->hd + 9);
            if (c->status == 100) {
                c->hl = 0;
                break;
            }
            char *x;
            c->close_after = strcasestr(c->hd, "\r\nconnection: close") != NULL;
            if (strcasestr(c->hd, "\r\ntransfer-encoding: chunked")) {
                c->st = CSIZE;
                c->left = 0;
            } else if ((x = strcasestr(c->hd, "\r\ncontent-length:"))) {
                c->left = atol(x + 17);
                c->st = BLEN;
                if (!c->left) {
                    c->st = IDLE;
                    finish(c, 1);
                    return;
                }
            } else {
                c->st = BEOF;
                c->close_after = 1;
            }
            c->hl = 0;
            break;
        }
        case BLEN: {
            size_t k = n < (size_t)c->left ? n : (size_t)c->left;
            lines(c, p, k, t);
            p += k;
            n -= k;
            c->left -= k;
            if (!c->left) {
                c->st = IDLE;
                finish(c, 1);
                return;
            }
            break;
        }
        case CSIZE: {
            char ch = *p++;
            n--;
            if (ch == '\n') {
                c->st = c->left ? CDATA : CTRAIL;
                c->hl = 0;
            } else if (ch == ';')
                c->hl = 1;
            else if (!c->hl) {
                int d = ch >= '0' && ch <= '9'                 ? ch - '0'
                        : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10
                                                               : -1;
                if (d >= 0) c->left = c->left * 16 + d;
            }
            break;
        }
        case CDATA: {
            size_t k = n < (size_t)c->left ? n : (size_t)c->left;
            lines(c, p, k, t);
            p += k;
            n -= k;
            c->left -= k;
            if (!c->left) c->st = CCRLF;
            break;
        }
        case CCRLF: {
            char ch = *p++;
            n--;
            if (ch == '\n') {
                c->st = CSIZE;
                c->left = 0;
                c->hl = 0;
            }
            break;
        }
        case CTRAIL: {
            char ch = *p++;
            n--;
            if (ch == '\n') {
                if (c->hl == 0) {
                    c->st = IDLE;
                    finish(c, 1);
                    return;
                }
                c->hl = 0;
            } else if (ch != '\r')
                c->hl = 1;
            break;
        }
        case BEOF:
            lines(c, p, n, t);
            n = 0;
            break;
        default: n = 0; break;
        }
    }
}
static void onread(Conn *c) {
    static char buf[262144];
    for (;;) {
        ssize_t r = recv(c->fd, buf, sizeof buf, 0);
        if (r > 0) {
            feed(c, buf, r, now());
            if (c->fd < 0 || r < (ssize_t)sizeof buf) return;
            continue;
        }
        if (r < 0 && errno == EAGAIN) return;
        if (r < 0 && !errtxt[0]) snprintf(errtxt, 200, "recv: %s", strerror(errno));
        if (c->busy) {
            if (c->st == BEOF && r == 0)
                finish(c, 1);
            else { /* closed an idle keep-alive under us before any byte: retry once */
                if (c->st == HEAD && c->hl == 0 && r == 0) {
                    close(c->fd);
                    c->fd = -1;
                    uint64_t t = c->t0;
                    static long retr;
                    if (retr++ < 2000) {
                        start(c, t);
                        return;
                    }
                }
                if (!errtxt[0]) snprintf(errtxt, 200, "closed early st=%d", c->st);
                c->close_after = 1;
                finish(c, 0);
            }
        } else {
            close(c->fd);
            c->fd = -1;
        }
        return;
    }
}
int main(int ac, char **av) {
    int o;
    while ((o = getopt(ac, av, "p:u:H:b:sc:d:r:1R:n:t:")) != -1) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'H':
            strcat(hdrs, optarg);
            strcat(hdrs, "\r\n");
            break;
        case 'b': body = optarg; break;
        case 's': sse = 1; break;
        case 'c': N = atoi(optarg); break;
        case 'd': dur = atof(optarg); break;
        case 'r': rps = atof(optarg); break;
        case '1': once = 1; break;
        case 'R': ramp = atof(optarg); break;
        case 'n': expect = atoi(optarg); break;
        case 't': tmo = atof(optarg); break;
        default: return 2;
        }
    signal(SIGPIPE, SIG_IGN);
    reql = asprintf(&req,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: "
                    "*/*\r\n%sContent-Length: %zu\r\n\r\n%s",
                    path, port, hdrs, strlen(body), body);
    ep = epoll_create1(0);
    cs = calloc(N, sizeof *cs);
    freel = calloc(N, sizeof(int));
    pqcap = 1 << 20;
    pq = calloc(pqcap, 8);
    static struct epoll_event ev[512];
    for (int i = 0; i < N; i++) cs[i].fd = -1;
    T0 = now();
    TEND = T0 + (uint64_t)(dur * 1e9);
    uint64_t hard = once ? T0 + (uint64_t)((ramp + tmo) * 1e9) : TEND + (uint64_t)(tmo * 1e9);
    long started = 0;
    uint64_t nxt = T0;
    uint64_t tstop = 0;
    long okstop = 0, chstop = 0;
    if (rps > 0) {
        for (int i = 0; i < N; i++) {
            conn_open(&cs[i]);
            freel[nfree++] = i;
        }
        usleep(50000);
        T0 = now();
        nxt = T0;
        TEND = T0 + (uint64_t)(dur * 1e9);
    } else if (!once)
        for (int i = 0; i < N; i++) start(&cs[i], now());
    for (;;) {
        uint64_t t = now();
        int to = 100;
        if (once) {
            while (started < N && T0 + (uint64_t)(ramp * 1e9 * started / N) <= t) {
                start(&cs[started], t);
                started++;
            }
            if (started < N)
                to = 1;
            else {
                if (ok + err >= N) break;
            }
        } else if (!stopping && t >= TEND) {
            stopping = 1;
            tstop = t;
            okstop = ok;
            chstop = chunks;
        } else if (rps > 0 && !stopping) {
            while (nxt <= t) {
                if (nfree) {
                    int i = freel[--nfree];
                    start(&cs[i], nxt);
                } else {
                    pq[pqt++ % pqcap] = nxt;
                }
                nxt += (uint64_t)(1e9 / rps);
            }
            int64_t d = (int64_t)(nxt - now());
            to = d <= 0 ? 0 : -1;
            if (to == -1) {
                struct timespec ts = {d / 1000000000, d % 1000000000};
                int n = epoll_pwait2(ep, ev, 512, &ts, NULL);
                to = -2;
                for (int i = 0; i < n; i++) {
                    Conn *c = ev[i].data.ptr;
                    if (ev[i].events & EPOLLOUT) {
                        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                        if (c->dead) do_send(c);
                    }
                    if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) onread(c);
                }
            }
        }
        if (stopping) { /* every request that was begun is waited for, so that each can be accounted for */
            int b = 0;
            for (int i = 0; i < N; i++) b += cs[i].busy;
            if (!b) break;
        }
        if (t > hard) break;
        if (to == -2) continue;
        int n = epoll_wait(ep, ev, 512, to);
        for (int i = 0; i < n; i++) {
            Conn *c = ev[i].data.ptr;
            if (c->fd < 0) continue;
            if (ev[i].events & EPOLLOUT) {
                struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                if (c->dead && c->busy) do_send(c);
            }
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) onread(c);
        }
    }
    uint64_t t = now();
    if (!tstop) {
        tstop = t;
        okstop = ok;
        chstop = chunks;
    }
    double el = (tstop - T0) / 1e9;
    long unfinished = 0;
    for (int i = 0; i < N; i++) unfinished += cs[i].busy;
    qsort(lat.a, lat.n, 4, cmpf);
    qsort(ttft.a, ttft.n, 4, cmpf);
    qsort(delay.a, delay.n, 4, cmpf);
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    printf("{\"ok\":%ld,\"err\":%ld,\"non200\":%ld,\"short\":%ld,\"unfinished\":%ld,\"reconnects\":%ld,"
           "\"elapsed\":%.3f,\"rps\":%.1f,\"chunks\":%ld,\"chunks_s\":%.1f,\"bytes\":%ld,"
           "\"lat_p50_us\":%.0f,\"lat_p99_us\":%.0f,\"lat_max_us\":%.0f,\"ttft_p50_us\":%.0f,\"ttft_p99_us\":"
           "%.0f,\"delay_p50_us\":%.0f,\"delay_p99_us\":%.0f,\"delay_max_us\":%.0f,\"gen_cpu_s\":%.2f,"
           "\"errtxt\":\"%s\"}\n",
           ok, err, non200, shortr, unfinished, reconn - (once ? N : 0) - (rps > 0 || once ? 0 : N), el,
           okstop / el, chunks, chstop / el, bytes, pct(&lat, .5), pct(&lat, .99), pct(&lat, 1),
           pct(&ttft, .5), pct(&ttft, .99), pct(&delay, .5), pct(&delay, .99), pct(&delay, 1),
           ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
           errtxt);
    return 0;
}
