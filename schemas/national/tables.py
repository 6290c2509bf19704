"""The field tables of the nodes; see `schemas.national.fields` for how they are written.

Where regions differ a field is optional here. The pharmacy nodes (2101, 2102) and the answers of 5201 and 5204 are our
reading: public sources name the transactions and their keys but not every field.
"""

from __future__ import annotations

from schemas.national.fields import shape

SIGN_IN = shape("opter_no:c20* mac:c20* ip:c20*")
SIGNED_IN = shape("sign_time:dt* sign_no:c30*")
SIGN_OUT = shape("sign_no:c30* opter_no:c20*")
SIGNED_OUT = shape("sign_time:dt*")
UPLOAD = shape("in:c40000* filename:c200* fixmedins_code:c12*")
UPLOADED = shape("file_qury_no:c30* filename:c200* fixmedins_code:c12*")
DOWNLOAD = shape("file_qury_no:c30* filename:c200* fixmedins_code:c12*")

PERSON = shape(
    "mdtrt_cert_type:c3* mdtrt_cert_no:c50* card_sn:c32 begntime:dt psn_cert_type:c6 certno:c50 psn_name:c50"
)
PERSON_BASE = shape("psn_no:c30* psn_cert_type:c6* certno:c50* psn_name:c50* gend:c6* naty:c3 brdy:d age:n4,1")
PERSON_INSURED = shape(
    "balc:m* insutype:c6* psn_type:c6* psn_insu_stas:c6* psn_insu_date:d paus_insu_date:d cvlserv_flag:c3*"
    " insuplc_admdvs:c6* emp_name:c200"
)
PERSON_IDENTITY = shape("psn_idet_type:c3 psn_type_lv:c3 memo:c500 begntime:dt endtime:dt")
BENEFIT = shape(
    "psn_no:c30* insutype:c6* fixmedins_code:c12* med_type:c6* begntime:dt* endtime:dt dise_codg:c30 dise_name:c500"
    " oprn_oprt_code:c30 matn_type:c6 birctrl_type:c6"
)
BENEFIT_CHECKED = shape(
    "psn_no:c30 trt_chk_type:c3 fund_pay_type:c6 trt_enjymnt_flag:c3 begndate:d enddate:d trt_chk_rslt:c500"
)

OUTPATIENT = shape(
    "psn_no:c30* insutype:c6* begntime:dt* mdtrt_cert_type:c3* mdtrt_cert_no:c50 ipt_otp_no:c30* atddr_no:c30*"
    " dr_name:c50* dept_code:c30* dept_name:c100* caty:c10*"
)
VISIT = shape("mdtrt_id:c30* psn_no:c30 ipt_otp_no:c30")
OUTPATIENT_UNDO = shape("psn_no:c30* mdtrt_id:c30* ipt_otp_no:c30*")
VISIT_UNDO = shape("mdtrt_id:c30* psn_no:c30*")
ENCOUNTER = shape(
    "mdtrt_id:c30* psn_no:c30* med_type:c6* begntime:dt* main_cond_dscr:c1000 dise_codg:c30 dise_name:c500"
    " birctrl_type:c6 birctrl_matn_date:d ttp_resp:c3"
)
DISEASE = shape(
    "diag_type:c3 diag_srt_no:i2 diag_code:c30* diag_name:c200 diag_dept:c100 dise_dor_no:c30 dise_dor_name:c50"
    " diag_time:dt vali_flag:c3 maindiag_flag:c3 psn_no:c30 mdtrt_id:c30 adm_cond:c500"
)
_LINE = (
    "feedetl_sn:c30* {mdtrt}psn_no:c30* {batch}dise_codg:c30 rxno:c30 rx_circ_flag:c3{rx} fee_ocur_time:dt*"
    " med_list_codg:c50* medins_list_codg:c150* medins_list_name:c200 det_item_fee_sumamt:m* cnt:n16,4* pric:n16,6*"
    " sin_dos_dscr:c200 used_frqu_dscr:c200 prd_days:n4,2 medc_way_dscr:c200 bilg_dept_codg:c30* bilg_dept_name:c100*"
    " bilg_dr_codg:c30* bilg_dr_name:c50* acord_dept_codg:c30 acord_dept_name:c100 orders_dr_code:c30"
    " orders_dr_name:c50 hosp_appr_flag:c3* tcmdrug_used_way:c6 etip_flag:c3 etip_hosp_code:c30 dscg_tkdrug_flag:c3"
    " matn_fee_flag:c3 unchk_flag:c3 unchk_memo:c500 init_feedetl_sn:c30 med_chrgitm_type:c6 chrgitm_lv:c3"
)
FEE = shape(_LINE.format(mdtrt="mdtrt_id:c30* ", batch="chrg_bchno:c30* ", rx="*"))
INPATIENT_FEE = shape(_LINE.format(mdtrt="mdtrt_id:c30* ", batch="chrg_bchno:c30 ", rx=""))
DRUG_INFO = shape(
    "psn_no:c30* mdtrt_cert_type:c3* mdtrt_cert_no:c50 begntime:dt* medfee_sumamt:m* invono:c20 insutype:c6*"
    " dise_codg:c30 dise_name:c500 acct_used_flag:c3* med_type:c6* ipt_otp_no:c30 order_no:c30"
)
DRUG = shape(
    "feedetl_sn:c30* rxno:c30 rx_circ_flag:c3* fee_ocur_time:dt* med_list_codg:c50* medins_list_codg:c150*"
    " medins_list_name:c200 det_item_fee_sumamt:m* cnt:n16,4* pric:n16,6* sin_dos_dscr:c200 used_frqu_dscr:c200"
    " prd_days:n4,2 medc_way_dscr:c200 bilg_dr_codg:c30 bilg_dr_name:c50 tcmdrug_used_way:c6 med_chrgitm_type:c6"
    " chrgitm_lv:c3"
)
FEE_RESULT = shape(
    "feedetl_sn:c30* det_item_fee_sumamt:m* cnt:n16,4* pric:n16,6* pric_uplmt_amt:n16,6 selfpay_prop:n5,4"
    " fulamt_ownpay_amt:m overlmt_amt:m preselfpay_amt:m inscp_scp_amt:m chrgitm_lv:c3 med_chrgitm_type:c6"
    " bas_medn_flag:c3 hi_nego_drug_flag:c3 chld_medc_flag:c3 list_sp_item_flag:c3 lmt_used_flag:c3 drt_reim_flag:c3"
    " memo:c500"
)
FEE_UNDO = shape("mdtrt_id:c30* chrg_bchno:c30* psn_no:c30*")
INPATIENT_FEE_UNDO = shape("feedetl_sn:c30* mdtrt_id:c30* psn_no:c30*")

SETTLE = shape(
    "psn_no:c30* mdtrt_cert_type:c3* mdtrt_cert_no:c50 med_type:c6* medfee_sumamt:m* psn_setlway:c6* mdtrt_id:c30*"
    " chrg_bchno:c30 insutype:c6* acct_used_flag:c3* mid_setl_flag:c3 mdtrt_mode:c3 order_no:c30 invono:c20"
    " fulamt_ownpay_amt:m overlmt_selfpay:m preselfpay_amt:m inscp_scp_amt:m"
)
OUTPATIENT_SETTLE = SETTLE.plus("chrg_bchno:c30*")
UNDO = shape("setl_id:c30* mdtrt_id:c30* psn_no:c30*")
REVERSAL = shape("psn_no:c30* omsgid:c30* oinfno:c5*")

_WHO = (
    "mdtrt_id:c30{must} psn_no:c30* psn_name:c50 psn_cert_type:c6 certno:c50 gend:c6 naty:c3 brdy:d age:n4,1"
    " insutype:c6 psn_type:c6 cvlserv_flag:c3 setl_time:dt mdtrt_cert_type:c3 med_type:c6 "
)
_AMOUNTS = (
    "medfee_sumamt:m* fulamt_ownpay_amt:m* overlmt_selfpay:m* preselfpay_amt:m* inscp_scp_amt:m* act_pay_dedc:m"
    " hifp_pay:m* pool_prop_selfpay:n5,4 cvlserv_pay:m* hifes_pay:m* hifmi_pay:m* hifob_pay:m* hifdm_pay:m maf_pay:m*"
    " oth_pay:m* fund_pay_sumamt:m* psn_part_amt:m* acct_pay:m* psn_cash_pay:m* hosp_part_amt:m* balc:m"
    " acct_mulaid_pay:m "
)
_CLEARING = "medins_setl_id:c30 clr_optins:c6 clr_way:c6 clr_type:c6"
SETLINFO = shape(_WHO.format(must="*") + _AMOUNTS + "setl_id:c30* " + _CLEARING)
TRIAL_INFO = shape(_WHO.format(must="") + _AMOUNTS + "setl_id:c30 " + _CLEARING)
CANCEL_INFO = shape(_WHO.format(must="") + _AMOUNTS.replace("*", "") + "setl_id:c30 " + _CLEARING).plus(
    "psn_no:c30 medfee_sumamt:m* fund_pay_sumamt:m*"
)
SETLDETAIL = shape(
    "fund_pay_type:c6* inscp_scp_amt:m crt_payb_lmt_amt:m fund_payamt:m* fund_pay_type_name:c200 setl_proc_info:c4000"
    " mdtrt_id:c30 setl_id:c30"
)

_STAY = (
    "psn_no:c30* insutype:c6* coner_name:c50 tel:c50 begntime:dt* mdtrt_cert_type:c3* mdtrt_cert_no:c50 med_type:c6*"
    " ipt_otp_no:c30* medrcdno:c30 atddr_no:c30* chfpdr_name:c50* adm_diag_dscr:c200* adm_dept_codg:c30*"
    " adm_dept_name:c100* adm_bed:c30* dscg_maindiag_code:c30* dscg_maindiag_name:c200* main_cond_desc:c1000"
    " dise_codg:c30 dise_name:c500 oprn_oprt_code:c30 oprn_oprt_name:c500 fpsc_no:c50 matn_type:c6 birctrl_type:c6"
    " latechb_flag:c3 geso_val:i2 fetts:i3 fetus_cnt:i3 pret_flag:c3 birctrl_matn_date:d advpay:m repeat_ipt_flag:c3"
    " ttp_resp:c3 merg_setl_flag:c3"
)
ADMISSION = shape(_STAY)
ADMISSION_CHANGE = shape("mdtrt_id:c30* " + _STAY.replace("insutype:c6*", "insutype:c6"))
AGENT = shape("agnter_name:c50 agnter_rlts:c3 agnter_cert_type:c6 agnter_certno:c50 agnter_tel:c30")
ADMITTED = shape("mdtrt_id:c30* vola_type:c30 vola_dscr:c500")
DISCHARGE = shape(
    "mdtrt_id:c30* psn_no:c30* insutype:c6* endtime:dt* dise_codg:c30 dise_name:c500 oprn_oprt_code:c30"
    " oprn_oprt_name:c500 cmplct_flag:c3 dscg_dept_code:c30* dscg_dept_name:c100* dscg_bed:c30 dscg_way:c3* die_date:d"
)

TOTAL_CHECK = shape(
    "insutype:c6* clr_type:c6* setl_optins:c6* stmt_begndate:d* stmt_enddate:d* medfee_sumamt:m* fund_pay_sumamt:m*"
    " acct_pay:m* fixmedins_setl_cnt:i10* refd_setl_flag:c6 exp_content:c4000"
)
TOTAL_CHECKED = shape("setl_optins:c6* stmt_rslt:c6* stmt_rslt_dscr:c200")
DETAIL_CHECK = shape(
    "setl_optins:c6* file_qury_no:c30* stmt_begndate:d* stmt_enddate:d* medfee_sumamt:m* fund_pay_sumamt:m*"
    " cash_payamt:m* fixmedins_setl_cnt:i10* clr_type:c6* refd_setl_flag:c3* exp_content:c4000"
)
DETAIL_CHECKED = shape("file_qury_no:c30* filename:c200* dld_endtime:dt")
CLAIM = shape(
    "clr_type:c6* clr_way:c6* medfee_sumamt:m* med_sumfee:m* fund_appy_sum:m* cash_payamt:m* acct_pay:m* begndate:d*"
    " enddate:d* setlym:c6 psntime:i10"
)
CLAIMED = shape("clr_appy_evt_id:c30*")
CLAIM_UNDO = shape("clr_appy_evt_id:c30*")
MAPPING = shape(
    "fixmedins_hilist_id:c150* fixmedins_hilist_name:c200* list_type:c6* med_list_codg:c50* begndate:d* enddate:d*"
    " aprvno:c100 drugadm_strdcod:c50 dosform:c100 spec:c200 pacspec:c200 pric:n16,6 item_cont:c2000 exept_cont:c2000"
    " memo:c500"
)

VISIT_QUERY = shape("psn_no:c30* begntime:dt* endtime:dt* med_type:c6* ipt_otp_no:c30")
VISIT_FOUND = shape(
    "mdtrt_id:c30* psn_no:c30 psn_name:c50 begntime:dt endtime:dt med_type:c6 ipt_otp_no:c30 insutype:c6"
    " inhosp_stas:c3 dscg_dept_name:c100"
)
SETTLEMENT_QUERY = shape("psn_no:c30* setl_id:c30* mdtrt_id:c30*")
FEE_QUERY = shape("psn_no:c30* mdtrt_id:c30* setl_id:c30")
FEE_FOUND = shape(
    "mdtrt_id:c30 setl_id:c30 feedetl_sn:c30* chrg_bchno:c30 med_list_codg:c50 medins_list_codg:c150"
    " medins_list_name:c200 det_item_fee_sumamt:m* cnt:n16,4 pric:n16,6 fulamt_ownpay_amt:m overlmt_amt:m"
    " preselfpay_amt:m inscp_scp_amt:m chrgitm_lv:c3 med_chrgitm_type:c6 fee_ocur_time:dt psn_no:c30"
)
