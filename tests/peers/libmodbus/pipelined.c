/* A Modbus TCP server that answers as fast as requests come, for benchmarks: everything that one receive brings is
 * answered with one send. It knows reads of holding and input registers only, and must not know what they are for.
 *
 * Registers 2k and 2k+1 of both tables hold the 32-bit float k / 4, most significant word first.
 * Usage: pipelined; prints the port it listens on. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define ROOM 65536

struct client {
    int fd;
    size_t held;
    uint8_t in[ROOM];
};

static uint8_t image[2 * 65536];
static struct client clients[CLIENTS_MAX];
static struct pollfd polled[CLIENTS_MAX + 1];
static int count;

static void fill(void) {
    for (uint32_t k = 0; k < 32768; k++) {
        float value = k / 4.0f;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        bits = htonl(bits);
        memcpy(image + 4 * k, &bits, 4);
    }
}

static size_t answer(const uint8_t *ask, uint8_t *out) {
    uint32_t start = ask[8] << 8 | ask[9], registers = ask[10] << 8 | ask[11];
    memcpy(out, ask, 8);
    if ((ask[7] != 3 && ask[7] != 4) || registers < 1 || registers > 125 || start + registers > 65536) {
        out[4] = 0, out[5] = 3, out[7] = ask[7] | 0x80, out[8] = 2;
        return 9;
    }
    out[4] = (3 + 2 * registers) >> 8, out[5] = 3 + 2 * registers, out[8] = 2 * registers;
    memcpy(out + 9, image + 2 * start, 2 * registers);
    return 9 + 2 * registers;
}

static int send_all(int fd, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent, size -= sent;
    }
    return 0;
}

static int serve(struct client *c) {
    static uint8_t out[ROOM / 12 * 260];
    ssize_t got = recv(c->fd, c->in + c->held, ROOM - c->held, 0);
    if (got <= 0)
        return -1;
    c->held += got;
    size_t at = 0, filled = 0;
    for (; c->held - at >= 12; at += 12)
        filled += answer(c->in + at, out + filled);
    memmove(c->in, c->in + at, c->held - at);
    c->held -= at;
    return send_all(c->fd, out, filled);
}

static void take(int listener) {
    int fd = accept(listener, NULL, NULL), on = 1;
    if (fd < 0)
        return;
    if (count == CLIENTS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    clients[count].fd = fd;
    clients[count++].held = 0;
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    fill();
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16) ||
        getsockname(listener, (struct sockaddr *)&at, &size)) {
        perror("pipelined");
        return 1;
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        polled[0] = (struct pollfd){listener, POLLIN, 0};
        for (int i = 0; i < count; i++)
            polled[i + 1] = (struct pollfd){clients[i].fd, POLLIN, 0};
        int known = count;
        if (poll(polled, known + 1, -1) < 0 && errno != EINTR)
            return 1;
        for (int i = known - 1; i >= 0; i--)
            if (polled[i + 1].revents && serve(&clients[i])) {
                close(clients[i].fd);
                clients[i] = clients[--count];
            }
        if (polled[0].revents)
            take(listener);
    }
}
