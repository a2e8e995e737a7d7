# From RTL to a bitstream in Vivado: a block design of the processing system and the accelerator in its shell. In front of this
# come the lines that `pleinair build` writes: part, board_part, board_files, family, clock_mhz, pumped, jobs, sources, block_source,
# base, map_bytes. Leaves pleinair.bit, pleinair.hwh, timing.rpt and utilisation.rpt in the working folder.

set_param tcl.collectionResultDisplayLimit 0
set_param board.repoPaths $board_files
create_project -force pleinair project -part $part
set_property BOARD_PART_REPO_PATHS $board_files [current_project]
set_property board_part $board_part [current_project]
add_files -norecurse $sources
add_files -norecurse $block_source
update_compile_order -fileset sources_1

create_bd_design top

# The processing system: a port for registers, one for memory, and 100 MHz from which the clock is made
if {$family eq "zynqmp"} {
    create_bd_cell -type ip -vlnv [get_property VLNV [get_ipdefs xilinx.com:ip:zynq_ultra_ps_e:*]] zynq_ps
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} [get_bd_cells zynq_ps]
    set_property -dict [list \
        CONFIG.PSU__USE__M_AXI_GP0 {1} \
        CONFIG.PSU__USE__M_AXI_GP1 {0} \
        CONFIG.PSU__USE__M_AXI_GP2 {0} \
        CONFIG.PSU__USE__S_AXI_GP2 {1} \
        CONFIG.PSU__OVERRIDE__BASIC_CLOCK {0} \
        CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {100} \
    ] [get_bd_cells zynq_ps]
    set registers M_AXI_HPM0_FPD
    set memory S_AXI_HP0_FPD
    set clocks {maxihpm0_fpd_aclk saxihp0_fpd_aclk}
    set given_clock pl_clk0
    set given_reset pl_resetn0
} else {
    create_bd_cell -type ip -vlnv [get_property VLNV [get_ipdefs xilinx.com:ip:processing_system7:*]] zynq_ps
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config {make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"} [get_bd_cells zynq_ps]
    set_property -dict [list \
        CONFIG.PCW_USE_M_AXI_GP0 {1} \
        CONFIG.PCW_USE_S_AXI_HP0 {1} \
        CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {100} \
    ] [get_bd_cells zynq_ps]
    set registers M_AXI_GP0
    set memory S_AXI_HP0
    set clocks {M_AXI_GP0_ACLK S_AXI_HP0_ACLK}
    set given_clock FCLK_CLK0
    set given_reset FCLK_RESET0_N
}

# The accelerator's clock and its reset. The names are those of FINN's shell, which drivers look for.
create_bd_cell -type ip -vlnv [get_property VLNV [get_ipdefs -filter {NAME == clk_wiz}]] clk_wiz_0
set_property -dict [list \
    CONFIG.PRIM_IN_FREQ.VALUE_SRC PROPAGATED \
    CONFIG.PRIM_SOURCE {No_buffer} \
    CONFIG.PRIMITIVE {PLL} \
    CONFIG.CLKOUT1_REQUESTED_OUT_FREQ $clock_mhz \
    CONFIG.USE_LOCKED {true} \
    CONFIG.USE_RESET {true} \
    CONFIG.RESET_TYPE {ACTIVE_LOW} \
    CONFIG.RESET_PORT {resetn} \
] [get_bd_cells clk_wiz_0]
if {$pumped} {
    # Of twice the rate and in phase, from the same PLL: Vivado times what crosses.
    set_property -dict [list \
        CONFIG.CLKOUT2_USED {true} \
        CONFIG.CLKOUT2_REQUESTED_OUT_FREQ [expr {2 * $clock_mhz}] \
    ] [get_bd_cells clk_wiz_0]
    if {$family eq "zynqmp"} {
        # Buffers that are as far from the PLL as each other; these chips alone have them.
        set_property -dict [list \
            CONFIG.CLKOUT1_MATCHED_ROUTING {true} \
            CONFIG.CLKOUT2_MATCHED_ROUTING {true} \
        ] [get_bd_cells clk_wiz_0]
    }
}
create_bd_cell -type ip -vlnv [get_property VLNV [get_ipdefs xilinx.com:ip:proc_sys_reset:*]] proc_sys_reset_0
connect_bd_net [get_bd_pins zynq_ps/$given_clock] [get_bd_pins clk_wiz_0/clk_in1]
connect_bd_net [get_bd_pins zynq_ps/$given_reset] [get_bd_pins clk_wiz_0/resetn]
connect_bd_net [get_bd_pins zynq_ps/$given_reset] [get_bd_pins proc_sys_reset_0/ext_reset_in]
connect_bd_net [get_bd_pins clk_wiz_0/clk_out1] [get_bd_pins proc_sys_reset_0/slowest_sync_clk]
connect_bd_net [get_bd_pins clk_wiz_0/locked] [get_bd_pins proc_sys_reset_0/dcm_locked]

# The accelerator between two interconnects, which turn the processing system's kinds of AXI into its own
create_bd_cell -type module -reference pleinair_block shell
foreach name {control data} {
    create_bd_cell -type ip -vlnv [get_property VLNV [get_ipdefs xilinx.com:ip:smartconnect:*]] $name
    set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1}] [get_bd_cells $name]
    connect_bd_net [get_bd_pins clk_wiz_0/clk_out1] [get_bd_pins $name/aclk]
    connect_bd_net [get_bd_pins proc_sys_reset_0/interconnect_aresetn] [get_bd_pins $name/aresetn]
}
connect_bd_intf_net [get_bd_intf_pins zynq_ps/$registers] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins shell/s_axi]
connect_bd_intf_net [get_bd_intf_pins shell/m_axi] [get_bd_intf_pins data/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins data/M00_AXI] [get_bd_intf_pins zynq_ps/$memory]
foreach clock $clocks {
    connect_bd_net [get_bd_pins clk_wiz_0/clk_out1] [get_bd_pins zynq_ps/$clock]
}
connect_bd_net [get_bd_pins clk_wiz_0/clk_out1] [get_bd_pins shell/ap_clk]
if {$pumped} {
    connect_bd_net [get_bd_pins clk_wiz_0/clk_out2] [get_bd_pins shell/ap_clk2x]
}
connect_bd_net [get_bd_pins proc_sys_reset_0/peripheral_aresetn] [get_bd_pins shell/ap_rst_n]

# Registers where the driver's map says, memory as the processing system has it
assign_bd_address -offset $base -range $map_bytes [get_bd_addr_segs shell/s_axi/*]
assign_bd_address
validate_bd_design
save_bd_design

add_files -norecurse [make_wrapper -files [get_files top.bd] -top]
set_property top top_wrapper [current_fileset]
update_compile_order -fileset sources_1
launch_runs impl_1 -to_step write_bitstream -jobs $jobs
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {
    puts "ERROR: implementation ended with [get_property STATUS [get_runs impl_1]]"
    exit 1
}
open_run impl_1
report_timing_summary -file timing.rpt
report_utilization -hierarchical -file utilisation.rpt
file copy -force project/pleinair.runs/impl_1/top_wrapper.bit pleinair.bit
file copy -force [lindex [glob project/pleinair.*/sources_1/bd/top/hw_handoff/top.hwh] 0] pleinair.hwh
