// Pods' packets past netfilter by tc-BPF: the experiment behind docs/decisions/0014, run by redirect.sh.
//
// `pod` belongs at the ingress of a pod's link on its node, `uplink` at that of the node's own link. The kernel's routes and
// neighbours are all they know. What connection tracking translates, and what is not between two pods, goes the usual way.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#define section(name) __attribute__((section(name)))
#define network(number) __builtin_bswap32(number)
#define network_short(number) __builtin_bswap16(number)

// The range of pods.
#define PODS network(0x0af40000)
#define MASK network(0xffff0000)
#ifndef ASK
#define ASK 1 // 0: connection tracking is not asked, which breaks Services
#endif

struct nf_conn {
	unsigned long status;
} __attribute__((preserve_access_index));
struct bpf_ct_opts {
	int netns_id, error;
	__u8 protocol, direction, reserved[2];
};
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *, struct bpf_sock_tuple *, __u32, struct bpf_ct_opts *,
					 __u32) section(".ksyms");
extern void bpf_ct_release(struct nf_conn *) section(".ksyms");
#define TRANSLATED (1 << 4 | 1 << 5) // IPS_SRC_NAT, IPS_DST_NAT

static long (*route)(void *, struct bpf_fib_lookup *, int, __u32) = (void *)BPF_FUNC_fib_lookup;
static long (*redirect)(__u32, __u64) = (void *)BPF_FUNC_redirect;
static long (*redirect_peer)(__u32, __u64) = (void *)BPF_FUNC_redirect_peer;

static __attribute__((always_inline)) struct iphdr *between_pods(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *link = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(link + 1);
	int whole = (void *)(ip + 1) <= end && link->h_proto == network_short(ETH_P_IP) && ip->ihl == 5 && ip->ttl > 1 &&
		    !(ip->frag_off & network_short(0x3fff));
	return whole && (ip->saddr & MASK) == PODS && (ip->daddr & MASK) == PODS ? ip : 0;
}

// Asks for the entry of the packet's connection. Without one it is between two pods by their own addresses.
static __attribute__((always_inline)) int is_translated(struct __sk_buff *skb, struct iphdr *ip)
{
	__be16 *ports = (void *)(ip + 1);
	if ((void *)(ports + 2) > (void *)(long)skb->data_end || (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return 1;
	struct bpf_sock_tuple tuple = {
		.ipv4 = { .saddr = ip->saddr, .daddr = ip->daddr, .sport = ports[0], .dport = ports[1] }
	};
	struct bpf_ct_opts options = { .netns_id = -1, .protocol = ip->protocol };
	struct nf_conn *entry = bpf_skb_ct_lookup(skb, &tuple, sizeof tuple.ipv4, &options, sizeof options);
	if (!entry)
		return 0;
	int translated = (entry->status & TRANSLATED) != 0;
	bpf_ct_release(entry);
	return translated;
}

// Where the kernel's routes lead the packet, its header made ready for there; 0 if that is for the kernel to do.
static __attribute__((always_inline)) int forward(struct __sk_buff *skb, struct iphdr *ip)
{
	if (ASK && is_translated(skb, ip))
		return 0;
	__be16 *ports = (void *)(ip + 1);
	if ((void *)(ports + 2) > (void *)(long)skb->data_end)
		return 0;
	struct bpf_fib_lookup way = { .family = 2, .ifindex = skb->ifindex, .l4_protocol = ip->protocol, .sport = ports[0],
				      .dport = ports[1], .ipv4_src = ip->saddr, .ipv4_dst = ip->daddr };
	if (route(skb, &way, sizeof way, 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	__u32 sum = ip->check + network_short(0x0100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
	struct ethhdr *link = (struct ethhdr *)ip - 1;
	__builtin_memcpy(link->h_dest, way.dmac, ETH_ALEN);
	__builtin_memcpy(link->h_source, way.smac, ETH_ALEN);
	return way.ifindex;
}

section("tc/pod") int pod(struct __sk_buff *skb)
{
	struct iphdr *ip = between_pods(skb);
	if (!ip)
		return TC_ACT_OK;
	// Answers to this source leave by where the packet came in; else netfilter's own check drops it.
	struct bpf_fib_lookup back = { .family = 2, .ifindex = skb->ifindex, .ipv4_src = ip->daddr, .ipv4_dst = ip->saddr };
	long known = route(skb, &back, sizeof back, BPF_FIB_LOOKUP_SKIP_NEIGH);
	if (known != BPF_FIB_LKUP_RET_SUCCESS || back.ifindex != skb->ifindex)
		return TC_ACT_OK;
	int way = forward(skb, ip);
	return way ? redirect(way, 0) : TC_ACT_OK;
}

section("tc/uplink") int uplink(struct __sk_buff *skb)
{
	struct iphdr *ip = between_pods(skb);
	int way = ip ? forward(skb, ip) : 0;
	return way ? redirect_peer(way, 0) : TC_ACT_OK;
}

// The kernel gives these helpers to nobody else.
char _license[] section("license") = "GPL";
