"""Titles that hospitals give to the columns of a label table, as `plain_title` makes them: folded, without spaces."""

# Where a table has several titles for one column, the first one listed here is used.
COLUMN_NAMES = {
    "file": "file filename image imagefile datei dateiname bild bilddatei fichier nomfichier nomdufichier archivo "
    "nombrearchivo imagen nomefile immagine 文件 文件名 图像 图片 图像文件",
    "case_id": "caseid case tumorid tumourid lesionid fallnummer fallid fallnr fall casid cas idcas idcaso caso "
    "numerocas numerodecas ndecas numerocaso numerodecaso ncaso 病例号 病例id 病例编号 病灶编号",
    "patient_id": "patientid patient pid patid patientenid patientennummer patientennr patientnr patnr pat "
    "patientnumber patientno patientcode patientidentifier subjectid subject studyid participantid mrn "
    "patientenkennung patientencode patientenkennzeichen patientenpseudonym pseudonym studiennummer studiennr "
    "probandennummer probandenid aufnahmenummer idpatient npatient npat ndepatient numpatient numeropatient "
    "numerodepatient numerodupatient codepatient identifiantpatient identifiant numerodossier ndossier ndedossier "
    "nodossier nodedossier numerodedossier nip ipp ndipp idpaciente codigopaciente codigodepaciente "
    "codigodelpaciente npaciente numeropaciente numerodepaciente numpaciente nhc nhistoria nhistoriaclinica "
    "numhistoria numerohistoria nodehistoria nohistoria nodepaciente nopaciente nodepatient nopatient "
    "numerodehistoria numerodehistoriaclinica historiaclinica identificador numeropatiente idpaziente "
    "codicepaziente numeropaziente npaziente paciente paziente 患者编号 病人编号 患者id 病人id 患者编码 患者号 "
    "病人号 受试者编号 影像号 检查号 病历号 病案号 住院号 门诊号 登记号 编号 id",
    "subtype": "subtype histology label diagnosis class tumorhistologicsubtype pathology histologicsubtype "
    "histologicalsubtype histologicaltype histologictype finalhistology finalpathology pathologydiagnosis "
    "pathologicdiagnosis pathologicaldiagnosis tumorsubtype tumortype rccsubtype histologie histologischersubtyp "
    "histologischertyp histologietyp histologiesubtyp histologieergebnis histo histobefund tumorhistologie "
    "tumorentitat entitat tumorart tumortyp tumorsubtyp nierentumortyp pathologie pathologiebefund pathobefund "
    "pathologischerbefund pathologischediagnose histologischediagnose histologischerbefund endhistologie "
    "finalehistologie diagnose histologia patologia anatomiepathologique anatomopathologie anapath "
    "resultatanapath resultatanatomopathologique diagnosticanatomopathologique diagnostichistologique "
    "typehistologique soustypehistologique typedetumeur typetumoral typetumeur histologiefinale diagnostic "
    "diagnostico diagnosi subtyp anatomiapatologica diagnosticoanatomopatologico diagnosticohistologico "
    "diagnosticopatologico resultadoanatomiapatologica resultadoap diagnosticoap tipohistologico "
    "subtipohistologico histologiafinal tipodetumor tipotumor tipotumoral istologia istotipo diagnosiistologica "
    "esameistologico soustype subtipo sottotipo 病理类型 病理诊断 病理 病理结果 病理亚型 病理分型 术后病理 "
    "组织学类型 组织学亚型 组织学 组织病理 肿瘤类型 肿瘤亚型 亚型 诊断",
    "subtype_reader2": "subtypereader2 pathologyreader2 secondreading secondpathologyreading subtype2 pathology2 "
    "histology2 diagnosis2 zweitbefund zweitbefundung referenzpathologie referencepathology centralpathology "
    "centralreview secondelecture segundalectura secondalettura 第二次病理",
    "sex": "sex gender patientsex geschlecht geschl sexe sexo genero sesso genere 性别",
    "age_years": "ageyears age ageatnephrectomy ageatimaging ageatscan ageatsurgery patientage ageyr ageyrs "
    "ageinyears alter alterjahre alterj alterinjahren patientenalter alterbeiop alterbeict alterbeidiagnose "
    "ageans agealachirurgie ageauscanner ageaudiagnostic edad edadanos edadenanos edadalacirugia eta etaanni 年龄 "
    "年龄岁 检查年龄",
    "birth_date": "birthdate dateofbirth dob patientbirthdate geburtsdatum gebdatum gebdat datedenaissance "
    "datenaissance ddn fechanacimiento fechadenacimiento datadinascita datanascita 出生日期 出生年月 出生年月日",
    "scan_date": "scandate dateofscan ctdate dateofct imagingdate studydate dateofimaging ctdatum datumct "
    "datumderct untersuchungsdatum datescanner datedescanner dateduscanner fechatc fechatac fechadeltc "
    "fechadeltac datatc 检查日期 扫描日期 ct日期 检查时间",
    "surgery_date": "surgerydate dateofsurgery operationdate nephrectomydate dateofnephrectomy opdatum datumop "
    "operationsdatum datumderoperation datechirurgie datedechirurgie dateoperation datedintervention fechacirugia "
    "fechadecirugia fechadelacirugia dataintervento 手术日期 手术时间",
    "size_cm": "sizecm size maxøcm øcm maxdurchmessercm grossterdurchmessercm "
    "radiographicsizecm radiographicsize tumorsizecm tumorsize tumoursize diametercm "
    "maxdiametercm largestdiametercm tumordurchmessercm durchmessercm grossecm tumorgrossecm taillecm "
    "tailletumoralecm taillecmtumeur diametrecm tamanocm tamanotumoralcm diametrocm dimensionecm 肿瘤大小cm "
    "肿瘤最大径cm 肿瘤直径cm 最大径cm 直径cm 大小cm",
    "size_mm": "sizemm maxømm ømm maxdurchmessermm grossterdurchmessermm "
    "tumorsizemm tumoursizemm diametermm maxdiametermm largestdiametermm tumordurchmessermm "
    "durchmessermm grossemm tumorgrossemm taillemm tailletumoralemm diametremm tamanomm tamanotumoralmm "
    "diametromm dimensionemm radiographicsizemm 肿瘤大小mm 肿瘤最大径mm 肿瘤直径mm 最大径mm 直径mm 大小mm",
    "side": "side laterality seite lateralitat seitenangabe cote lateralite lado lateralidad lato lateralita 侧别 "
    "左右 患侧 肿瘤侧别",
    "phase": "phase contrastphase kmphase kontrastmittelphase phasedecontraste tempsinjection fase fasecontraste "
    "fasedecontraste faseconstraste 期相 时相 增强期相 扫描期相",
    "site_id": "siteid site center centre institution hospital zentrum klinik standort hopital centro institucion "
    "ospedale 中心 医院 机构",
    "cohort": "cohort kohorte cohorte",
    "tumor_label": "tumorlabel tumourlabel labelvalue segmentnumber",
    "tumor_name": "tumorname tumourname segment segmentlabel segmentname roiname",
    "roi": "roi roifile roipath maskfile segmentationfile roidatei maskendatei fichierroi archivoroi",
    "organs": "organs organfile kidneymask kidneyfile",
    "exclude": "exclude excluded exclusion ausschluss ausgeschlossen exclu excluido escluso 排除 是否排除",
    "exclusion_reason": "exclusionreason reasonforexclusion excludereason ausschlussgrund grundfurausschluss "
    "raisonexclusion motifexclusion motifdexclusion motivoexclusion motivodeexclusion motivoesclusione 排除原因",
    "slice_index": "sliceindex slice slicenumber schicht schichtnummer schichtnr coupe ncoupe numerodecoupe corte "
    "numerodecorte ncorte 层面 层号 切片 切片号",
    "spacing": "spacingxy spacing pixelspacing pixelabstand pixelgrosse",
    "row_mm": "rowmm",
    "col_mm": "colmm columnmm",
    "synthetic": "synthetic",
}

# Such a number may count the tumors of a patient or be the label in the ROI, so it is reported but not used.
TUMOR_NUMBERS = """
    tumornr tumornummer tumorno tumornumber tumorn tumorindex tumour tumourno tumournumber tumor lesion lesionno
    lesionnr lesionnumber lasion lasionsnr lasionnr herd herdnr ntumeur numerotumeur numerotumor 肿瘤编号
"""
