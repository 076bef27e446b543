use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{AddressMessageBuilder, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::{Namespace, NetnsError};

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Kind as the kernel names it ("veth", "bridge", "vxlan"); `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Link-layer address, empty where the link has none.
    pub hardware_address: Vec<u8>,
}

/// What [`Namespace::set_link`] makes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// `IFF_UP` set.
    Up,
    /// `IFF_UP` cleared; the kernel drops the routes over it.
    Down,
}

/// Joins two namespaces by a veth pair, both ends up.
///
/// # Errors
/// [`NetnsError::Netlink`] if an end's name is taken or longer than 15 bytes.
pub fn connect(a: &Namespace, a_link: &str, b: &Namespace, b_link: &str) -> Result<(), NetnsError> {
    // The far end is born in its own namespace, so its name cannot clash with anything in `a`.
    let there = b.handle();
    let far_end = LinkMessageBuilder::<LinkUnspec>::new().name(b_link).setns_by_fd(there.as_raw_fd()).build();
    let pair = LinkMessageBuilder::<LinkVeth>::new(a_link, b_link)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .up()
        .build();
    a.netlink(|netlink| async move {
        netlink.link().add(pair).execute().await.map_err(|error| {
            NetnsError::netlink(a.name(), format!("connect {a_link} to {b_link} of {}", b.name()), &error)
        })
    })?;
    // Not in the message above: a veth end opens only once it has its peer.
    b.set_link(b_link, LinkState::Up)
}

impl Namespace {
    /// Creates a bridge, up and without spanning tree.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`] if the name is taken.
    pub fn bridge(&self, name: &str) -> Result<(), NetnsError> {
        self.netlink(|netlink| async move {
            netlink
                .link()
                .add(LinkBridge::new(name).up().build())
                .execute()
                .await
                .map_err(|error| NetnsError::netlink(self.name(), format!("create bridge {name}"), &error))
        })
    }

    /// Makes `link` a port of `bridge`.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`] for either name.
    pub fn attach(&self, bridge: &str, link: &str) -> Result<(), NetnsError> {
        self.change_link(bridge, link, |bridge, index| {
            LinkUnspec::new_with_index(index).controller(bridge).up().build()
        })
    }

    /// Sets a link up or down.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`].
    pub fn set_link(&self, link: &str, state: LinkState) -> Result<(), NetnsError> {
        self.change_link(link, link, |_, index| match state {
            LinkState::Up => LinkUnspec::new_with_index(index).up().build(),
            LinkState::Down => LinkUnspec::new_with_index(index).down().build(),
        })
    }

    /// Moves a link to another namespace; it goes down and loses its addresses.
    pub(crate) fn give_link(&self, link: &str, to: &Self) -> Result<(), NetnsError> {
        let there = to.handle();
        self.change_link(link, link, |_, index| {
            LinkUnspec::new_with_index(index).setns_by_fd(there.as_raw_fd()).build()
        })
    }

    /// Sets the largest packet of a link, in bytes.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`].
    pub fn set_mtu(&self, link: &str, mtu: u32) -> Result<(), NetnsError> {
        self.change_link(link, link, |_, index| LinkUnspec::new_with_index(index).mtu(mtu).build())
    }

    /// Sets the hardware address of a link.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`].
    pub fn set_hardware_address(&self, link: &str, address: [u8; 6]) -> Result<(), NetnsError> {
        self.change_link(link, link, |_, index| {
            LinkUnspec::new_with_index(index).address(address.to_vec()).build()
        })
    }

    /// Removes a link; of a veth pair both ends go.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`].
    pub fn remove_link(&self, link: &str) -> Result<(), NetnsError> {
        self.netlink(|netlink| async move {
            let index = self.link_index(&netlink, link).await?;
            netlink
                .link()
                .del(index)
                .execute()
                .await
                .map_err(|error| NetnsError::netlink(self.name(), format!("remove {link}"), &error))
        })
    }

    /// Gives a link an address, usable at once (no duplicate address detection).
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`] if the address is there already.
    pub fn add_address(&self, link: &str, address: IpNet) -> Result<(), NetnsError> {
        self.netlink(|netlink| async move {
            let message = address_message(self.link_index(&netlink, link).await?, address);
            let mut request = netlink.address().add(0, address.addr(), address.prefix_len());
            *request.message_mut() = message;
            request.execute().await.map_err(|error| {
                NetnsError::netlink(self.name(), format!("add address {address} to {link}"), &error)
            })
        })
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`] if the address is not there.
    pub fn remove_address(&self, link: &str, address: IpNet) -> Result<(), NetnsError> {
        self.netlink(|netlink| async move {
            let message = address_message(self.link_index(&netlink, link).await?, address);
            netlink.address().del(message).execute().await.map_err(|error| {
                NetnsError::netlink(self.name(), format!("remove address {address} from {link}"), &error)
            })
        })
    }

    /// The addresses of a link, link-local ones included.
    ///
    /// # Errors
    /// [`NetnsError::NoSuchLink`], [`NetnsError::Netlink`].
    pub fn addresses(&self, link: &str) -> Result<Vec<IpNet>, NetnsError> {
        self.netlink(|netlink| async move {
            let index = self.link_index(&netlink, link).await?;
            let messages: Vec<AddressMessage> =
                netlink.address().get().set_link_index_filter(index).execute().try_collect().await.map_err(
                    |error| NetnsError::netlink(self.name(), format!("list addresses of {link}"), &error),
                )?;
            Ok(messages.iter().filter_map(read_address).collect())
        })
    }

    /// All links of the namespace.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`].
    pub fn links(&self) -> Result<Vec<Link>, NetnsError> {
        self.netlink(|netlink| async move { self.list_links(&netlink).await })
    }

    async fn list_links(&self, netlink: &Handle) -> Result<Vec<Link>, NetnsError> {
        let messages: Vec<LinkMessage> = netlink
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|error| NetnsError::netlink(self.name(), "list links", &error))?;
        Ok(messages.iter().map(read_link).collect())
    }

    pub(crate) async fn link_index(&self, netlink: &Handle, link: &str) -> Result<u32, NetnsError> {
        self.list_links(netlink)
            .await?
            .into_iter()
            .find(|found| found.name == link)
            .map(|found| found.index)
            .ok_or_else(|| NetnsError::NoSuchLink {
                namespace: self.name().to_owned(),
                link: link.to_owned(),
            })
    }

    fn change_link(
        &self,
        other: &str,
        link: &str,
        change: impl FnOnce(u32, u32) -> LinkMessage + Send,
    ) -> Result<(), NetnsError> {
        self.netlink(|netlink| async move {
            let message =
                change(self.link_index(&netlink, other).await?, self.link_index(&netlink, link).await?);
            netlink
                .link()
                .set(message)
                .execute()
                .await
                .map_err(|error| NetnsError::netlink(self.name(), format!("change link {link}"), &error))
        })
    }
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = match address {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
        IpNet::V6(net) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
    };
    if matches!(address, IpNet::V6(_)) {
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

fn read_address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    // IPv6 has IFA_ADDRESS only; for IPv4 that is the far end of a point-to-point link.
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        kind: None,
        hardware_address: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => link.hardware_address.clone_from(address),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(read_kind),
            _ => {}
        }
    }
    link
}

fn read_kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}
