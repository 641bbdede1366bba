/* The cheapest MQTT 3.1.1 publisher and subscriber that this machine can run: what is left is the broker's own limit.

   load blast PORT QOS COUNT CONNECTIONS WINDOW FORMAT   publish COUNT readings of 100 devices, then print "acknowledged seconds"
   load sink PORT QOS COUNT FILTER                       print "subscribed", then "received seconds" of the last message

   FORMAT: plain {"temperature":21.5,"humidity":40} | a number: the same with _b, and _n from that number on for each device.
   Times are seconds since 1970. WINDOW: most messages of a connection without PUBACK. One thread, poll(2), no library.
   It sends no PINGREQ (keepalive 0) and ends when its work is done. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 262144
#define DEVICES 100

static void fail(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void put(int fd, const unsigned char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) fail("send");
            struct pollfd one = {fd, POLLOUT, 0};
            poll(&one, 1, -1);
            continue;
        }
        data += sent;
        length -= sent;
    }
}

static int dial(int port, const char *id) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    unsigned char packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, (unsigned char)strlen(id)};
    memcpy(packet + 14, id, strlen(id));
    packet[1] = 12 + strlen(id);
    put(fd, packet, packet[1] + 2);
    unsigned char answer[4];
    if (recv(fd, answer, 4, MSG_WAITALL) != 4 || answer[0] != 0x20 || answer[3]) fail("CONNACK");
    return fd;
}

/* Returns the length of the whole packet at `data`, 0 when that is not known yet; `body` is where its fixed header ends. */
static size_t packet_length(const unsigned char *data, size_t have, size_t *body) {
    size_t length = 0;
    for (int i = 1; i < 5 && (size_t)i < have; i++) {
        length |= (size_t)(data[i] & 127) << (7 * (i - 1));
        if (data[i] < 128) { *body = i + 1; return i + 1 + length; }
    }
    return 0;
}

static size_t reading(unsigned char *out, int qos, uint16_t id, long n, long first) {
    char payload[128];
    int size = first >= 0 ? sprintf(payload, "{\"temperature\":21.5,\"humidity\":40,\"_n\":%ld,\"_b\":\"b1\"}", first + n / DEVICES)
                        : sprintf(payload, "{\"temperature\":21.5,\"humidity\":40}");
    int topic = sprintf((char *)out + 4, "pinloop/bench%02ld/readings", n % DEVICES);
    size_t at = 4 + topic;
    out[0] = 0x30 | qos << 1;
    out[1] = 2 + topic + (qos ? 2 : 0) + size; /* below 128 */
    out[2] = 0;
    out[3] = topic;
    if (qos) { out[at++] = id >> 8; out[at++] = id & 255; }
    memcpy(out + at, payload, size);
    return at + size;
}

struct link { int fd; long sent, acked, quota; uint16_t id; size_t held, out, at; unsigned char in[4096], *block; };

static void blast(int port, int qos, long count, int links, long window, long first) {
    struct link *all = calloc(links, sizeof *all);
    for (int i = 0; i < links; i++) {
        char id[32];
        sprintf(id, "blast%d-%d", getpid(), i);
        all[i].fd = dial(port, id);
        all[i].block = malloc(BLOCK + 256);
        all[i].quota = count / links + (i < count % links);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
    }
    puts("connected");
    fflush(stdout);
    if (getchar() < 0) exit(1);
    double started = now();
    long n = 0, done = 0, open = links;
    while (open) {
        struct pollfd wait[64];
        for (int i = 0; i < links; i++) {
            struct link *l = all + i;
            while (l->out < 32768 && l->sent < l->quota && (!qos || l->sent - l->acked < window)) {
                if (++l->id == 0) l->id = 1;
                l->out += reading(l->block + l->out, qos, l->id, n++, first);
                l->sent++;
            }
            wait[i] = (struct pollfd){l->fd, (qos ? POLLIN : 0) | (l->at < l->out ? POLLOUT : 0), 0};
        }
        if (poll(wait, links, 10000) <= 0) { fprintf(stderr, "the broker stalls\n"); exit(1); }
        for (int i = 0; i < links; i++) {
            struct link *l = all + i;
            if (wait[i].revents & POLLOUT) {
                ssize_t sent = send(l->fd, l->block + l->at, l->out - l->at, MSG_NOSIGNAL);
                if (sent < 0 && errno != EAGAIN) fail("send");
                if (sent > 0) l->at += sent;
                if (l->at == l->out) l->at = l->out = 0;
            }
            if (wait[i].revents & (POLLIN | POLLHUP)) {
                ssize_t got = recv(l->fd, l->in + l->held, sizeof l->in - l->held, 0);
                if (got <= 0) fail("the broker closed the connection");
                l->held += got;
                l->acked += l->held / 4; /* a PUBACK has four bytes */
                l->held %= 4;
            }
            if (l->quota >= 0 && l->sent == l->quota && l->at == l->out && (!qos || l->acked == l->quota)) {
                done += l->quota;
                l->quota = -1;
                open--;
            }
        }
    }
    printf("%ld %.6f %.6f\n", done, started, now());
    for (int i = 0; i < links; i++) {
        const unsigned char bye[2] = {0xe0, 0};
        put(all[i].fd, bye, 2);
        close(all[i].fd);
    }
}

static void sink(int port, int qos, long count, const char *filter) {
    char id[32];
    sprintf(id, "sink%d", getpid());
    int fd = dial(port, id);
    unsigned char packet[256] = {0x82, 0, 0, 1, 0, (unsigned char)strlen(filter)};
    memcpy(packet + 6, filter, strlen(filter));
    packet[1] = 5 + strlen(filter);
    packet[6 + strlen(filter)] = qos;
    put(fd, packet, packet[1] + 2);
    unsigned char *in = malloc(BLOCK), *acks = malloc(BLOCK);
    size_t held = 0;
    long received = 0;
    while (received < count) {
        struct pollfd one = {fd, POLLIN, 0};
        if (poll(&one, 1, received ? 5000 : 60000) <= 0) break; /* the rest was lost */
        ssize_t got = recv(fd, in + held, BLOCK - held, 0);
        if (got <= 0) fail("recv");
        held += got;
        size_t at = 0, body, length, out = 0;
        while (held - at >= 2 && (length = packet_length(in + at, held - at, &body)) && length <= held - at) {
            unsigned char *p = in + at;
            if ((p[0] & 0xf0) == 0x30) {
                received++;
                if (p[0] & 6) {
                    size_t mid = body + 2 + (p[body] << 8 | p[body + 1]);
                    acks[out] = 0x40; acks[out + 1] = 2; acks[out + 2] = p[mid]; acks[out + 3] = p[mid + 1];
                    out += 4;
                }
            } else if ((p[0] & 0xf0) == 0x90) {
                puts("subscribed");
                fflush(stdout);
            }
            at += length;
        }
        memmove(in, in + at, held - at);
        held -= at;
        put(fd, acks, out);
    }
    printf("%ld %.6f\n", received, now());
}

int main(int argc, char **argv) {
    if (argc == 8 && !strcmp(argv[1], "blast"))
        blast(atoi(argv[2]), atoi(argv[3]), atol(argv[4]), atoi(argv[5]), atol(argv[6]), strcmp(argv[7], "plain") ? atol(argv[7]) : -1);
    else if (argc == 6 && !strcmp(argv[1], "sink"))
        sink(atoi(argv[2]), atoi(argv[3]), atol(argv[4]), argv[5]);
    else
        return fprintf(stderr, "load blast PORT QOS COUNT CONNECTIONS WINDOW FORMAT | load sink PORT QOS COUNT FILTER\n"), 2;
    return 0;
}
