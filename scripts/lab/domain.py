# SPDX-License-Identifier: GPL-2.0
"""Text of a libvirt domain, from the templates in vm-images/libvirt."""

from string import Template
from xml.sax.saxutils import escape

from .paths import TEMPLATES


def fill(template, **words):
    """A template with its words replaced; values are escaped, ready XML is not."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    xml = {"disks", "interfaces", "readonly", "genid"}
    safe = {k: v if k in xml else escape(str(v), {"'": "&apos;"}) for k, v in words.items()}
    return Template(text).substitute(safe)


def domain_xml(name, accel, mem_mb, vcpus, kernel, cmdline, disks, nics, console, genid):
    disk_xml = "".join(d.xml(f"vd{chr(ord('a') + i)}") for i, d in enumerate(disks))
    nic_xml = "".join(fill("interface.xml.in", **nic) for nic in nics)
    return fill("guest.xml.in", name=name, domain_type="kvm" if accel == "kvm" else "qemu",
                cpu_mode="host-passthrough" if accel == "kvm" else "maximum",
                mem_mb=mem_mb, vcpus=vcpus, kernel=kernel, cmdline=cmdline,
                emulator="/usr/bin/qemu-system-x86_64",
                genid="<genid/>" if genid else "", disks=disk_xml, interfaces=nic_xml,
                console=console)
